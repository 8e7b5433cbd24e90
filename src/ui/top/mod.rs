//! `nodewall top`: what goes on, at a glance. `model` turns readings into rates, `draw` turns the model into a screen, `keys` turns keys into what the
//! model is told. None of them reads the live system or the clock.

mod draw;
mod keys;
mod model;
#[cfg(test)]
mod tests;

pub use draw::{Palette, draw, to_text};
pub use keys::{KeyAction, press};
pub use model::{Look, Model, Reading};
