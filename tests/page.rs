//! The page rung: a real Chromium in the node's namespace, under traffic, with the real agent behind the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "the fixture is the network rung's; a page needs less of it")]
mod network {
    mod browser;
    mod counters;
    mod node;
    mod page;
    mod screen;
    mod settings;
    mod top_colors;
    mod traffic;
}
