//! A real headless Chromium in a namespace, driven by its `DevTools` protocol. It must not know what it shows.

use std::{cell::RefCell, fs, net::TcpStream, path::Path};

use nodewall_testbed::{NetNs, PATIENCE, Process, eventually_or};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket, client};

/// What a page looks like to its reader.
#[derive(Clone, Copy)]
pub struct View {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    /// A phone: touch, and a layout as narrow as it is.
    pub phone: bool,
}

pub struct Browser {
    socket: WebSocket<TcpStream>,
    session: Value,
    number: u64,
    /// What the page's console, its network and its policy complained of.
    complaints: Vec<String>,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    pub fn start(netns: &NetNs, view: View) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = netns.command("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--disable-background-networking", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let process = Process::spawn("chromium", command).unwrap();
        let line = process.wait_for_line(PATIENCE, |line| line.contains("DevTools listening on ")).unwrap();
        let url = line.split("listening on ").nth(1).unwrap().trim().to_owned();
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
        let stream = netns.run(|| TcpStream::connect(address)).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = client(url, stream).unwrap();
        let mut browser = Self {
            socket,
            session: Value::Null,
            number: 0,
            complaints: Vec::new(),
            _process: process,
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].clone();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable", "Network.enable"] {
            browser.ask(domain, &json!({}));
        }
        browser.look(view);
        browser
    }

    /// Changes how the page is looked at.
    pub fn look(&mut self, view: View) {
        let metrics =
            json!({ "width": view.width, "height": view.height, "deviceScaleFactor": 1, "mobile": view.phone });
        self.ask("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if view.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", &media);
    }

    pub fn open(&mut self, url: &str) {
        let opened = self.ask("Page.navigate", &json!({ "url": url }));
        assert_eq!(opened["errorText"], Value::Null, "{url}");
    }

    /// The value of a JavaScript expression; of a promise, what it comes to.
    pub fn value(&mut self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|exception| panic!("{expression}: {exception}"))
    }

    fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let question = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", &question);
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            exception => Err(exception.clone()),
        }
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let browser = RefCell::new(self);
        let shown = || {
            let mut browser = browser.borrow_mut();
            let text = browser.evaluate("document.body.innerText");
            format!("{expression} is true\n{text:?}\n{:?}", browser.complaints)
        };
        // Between two pages there is no document, and the expression has no value.
        eventually_or(shown, || (browser.borrow_mut().evaluate(expression) == Ok(Value::Bool(true))).then_some(()));
    }

    /// A picture of what is on the screen, as a file.
    pub fn picture(&mut self, file: &Path) {
        let picture = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        fs::write(file, decoded(picture["data"].as_str().unwrap())).unwrap();
    }

    /// The page as a screen reader gets it: nodes with `role` and `name`.
    pub fn accessibility(&mut self) -> Vec<Value> {
        self.ask("Accessibility.getFullAXTree", &json!({}))["nodes"].as_array().unwrap().clone()
    }

    /// Everything the page was complained of so far.
    pub fn complaints(&mut self) -> &[String] {
        // What came before the answer to this is noted.
        self.value("1");
        &self.complaints
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut question = json!({ "id": self.number, "method": method, "params": parameters });
        if self.session != Value::Null {
            question["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(question.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.number {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let is_complaint = match message["method"].as_str() {
            // Violations of the page's own policy are entries of its log, too.
            Some("Runtime.exceptionThrown") => true,
            // A reader that a busy machine holds up is cut off from the stream, and opens it again.
            Some("Log.entryAdded") => {
                let entry = &message["params"]["entry"];
                entry["source"] != "network"
                    || !entry["url"].as_str().is_some_and(|url| url.ends_with("/api/v1/stream"))
            }
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning"].contains(&message["params"]["type"].as_str().unwrap())
            }
            _ => false,
        };
        if is_complaint {
            self.complaints.push(message["params"].to_string());
        }
    }
}

/// Base64, as `DevTools` sends pictures.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no base64"),
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').collect();
    let mut bytes = Vec::new();
    for group in letters.chunks(4) {
        let bits = group.iter().fold(0, |bits, letter| bits << 6 | value(*letter)) << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
