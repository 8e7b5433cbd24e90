//! What `top` looks like: its screen with colours, drawn by a browser for the README; and that colours are left out where nobody wants them.

use std::{fmt::Write as _, fs, process::Command};

use nodewall_testbed::skip_unless_privileged;

use super::{
    browser::{Browser, View},
    node::Node,
    page::{busy, kept},
    screen::Screen,
};

const VIEW: View = View { width: 860, height: 560, dark: true, phone: false };
const STYLE: &str = "margin:0;background:#15181d;color:#d7dae0";
/// Black, red, green, yellow, blue, magenta, cyan, white; then the bright ones.
const COLORS: [&str; 16] = [
    "#15181d", "#e5534b", "#57ab5a", "#c69026", "#539bf5", "#b083f0", "#39c5cf", "#d7dae0", "#768390", "#ff938a",
    "#6bc46d", "#daaa3f", "#6cb6ff", "#dcbdfb", "#56d4dd", "#ffffff",
];

/// How the letters that follow look.
#[derive(Clone, Copy, Default)]
struct Palette {
    color: Option<usize>,
    bold: bool,
    reverse: bool,
}

impl Palette {
    /// By a `Select Graphic Rendition` sequence (ECMA-48, 8.3.117): those that `top` and tmux send, and no others.
    fn select(&mut self, parameters: &str) {
        let mut numbers = parameters.split(';').map(|number| number.parse::<usize>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                7 => self.reverse = true,
                22 => self.bold = false,
                27 => self.reverse = false,
                30..=37 => self.color = Some(number - 30),
                90..=97 => self.color = Some(number - 90 + 8),
                38 => {
                    assert_eq!(numbers.next(), Some(5), "a colour of the table: {parameters}");
                    self.color = numbers.next().filter(|color| *color < COLORS.len());
                }
                39 => self.color = None,
                // The paper is the terminal's own always.
                49 => {}
                other => panic!("{other} of \\e[{parameters}m has no look"),
            }
        }
    }

    fn css(self) -> String {
        let color = self.color.map_or("#d7dae0", |color| COLORS[color]);
        let (ink, paper) = if self.reverse { (COLORS[0], color) } else { (color, "transparent") };
        format!("color:{ink};background:{paper};font-weight:{}", if self.bold { 700 } else { 400 })
    }
}

/// A screen with its escape sequences as a page.
fn html(screen: &str) -> String {
    let mut page =
        format!("<body style='{STYLE}'><pre style='margin:12px;font:14px/1.25 \"DejaVu Sans Mono\",monospace'>");
    let mut look = Palette::default();
    for (n, piece) in screen.split("\u{1b}[").enumerate() {
        let text = if n == 0 {
            piece
        } else {
            let (parameters, text) = piece.split_once('m').unwrap();
            look.select(parameters);
            text
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = write!(page, "<span style='{}'>{text}</span>", look.css());
    }
    page + "</pre>"
}

/// `top` as it decides by itself: tests' other commands are told to be plain.
fn top(node: &Node, no_color: &str) -> Command {
    let plain = node.command("top", &[]);
    let mut command = node.netns().command(plain.get_program());
    command.args(plain.get_args().map(|argument| if argument == "never" { "auto".as_ref() } else { argument }));
    command.env("NO_COLOR", no_color);
    command
}

#[test]
fn top_is_coloured_on_a_terminal_and_not_where_nobody_wants_it() {
    if skip_unless_privileged("top_is_coloured_on_a_terminal_and_not_where_nobody_wants_it") {
        return;
    }
    let node = Node::enforcing();
    // As if it were not set: whoever runs the tests may have set it.
    let command = top(&node, "");
    let screen = Screen::start(&node, &command);
    busy(&node);
    screen.shows("the node", |text| ["healthy", "9042", "10.77.0.66"].iter().all(|word| text.contains(word)));
    let shown = screen.tmux(&["capture-pane", "-p", "-e"]);
    let line = shown.lines().find(|line| line.contains("healthy")).unwrap();
    assert!(line.contains("\u{1b}[32m") || line.contains("\u{1b}[38;5;2m"), "healthy is green: {line:?}");
    let mut browser = Browser::start(node.netns(), VIEW);
    browser.value(&format!("document.documentElement.innerHTML = {}", serde_json::Value::from(html(&shown))));
    let text = browser.value("document.body.innerText");
    assert!(text.as_str().unwrap().contains("cassandra"), "{text}");
    let scratch = tempfile::tempdir().unwrap();
    let file = kept(scratch.path()).join("top.png");
    browser.picture(&file);
    assert!(fs::read(&file).unwrap().starts_with(b"\x89PNG"));
    screen.press("q");
    drop(screen);
    let screen = Screen::start(&node, &top(&node, "1"));
    screen.shows("the node", |text| text.contains("healthy"));
    let shown = screen.tmux(&["capture-pane", "-p", "-e"]);
    let colors: Vec<String> = (30..=37).chain(90..=97).map(|color| format!("\u{1b}[{color}m")).collect();
    assert!(colors.iter().all(|color| !shown.contains(color)) && !shown.contains("[38;"), "{shown:?}");
}
