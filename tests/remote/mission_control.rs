//! `nodewall doctor --mission-control` against real TLS servers and proxies on loopback, each with one thing wrong: the step that failed is named, with what to
//! do.

mod far_end;
mod proxied;
mod straight;

use std::path::Path;

use serde_json::Value;

use crate::{authority::Authority, binary::Scratch};

/// Where `doctor` runs, and whom it believes.
struct Site {
    place: Scratch,
    authority: Authority,
    ca: std::path::PathBuf,
}

/// What it said.
struct DoctorReport {
    json: Value,
    code: i32,
}

impl Site {
    fn new() -> Self {
        let (place, authority) = (Scratch::new(), Authority::new("the vendor's authority"));
        let ca = authority.write(place.path("x").parent().unwrap());
        Self { place, authority, ca }
    }

    /// Goes to `host:port`, with these keys besides.
    fn look(&self, host: &str, port: u16, keys: &str) -> DoctorReport {
        self.look_believing(&self.ca, host, port, keys)
    }

    fn look_believing(&self, ca: &Path, host: &str, port: u16, keys: &str) -> DoctorReport {
        let ca = ca.display();
        let text = format!("[mission_control]\nhost = \"{host}\"\nport = {port}\nca = \"{ca}\"\n{keys}");
        let config = self.place.file("nodewall.toml", text);
        let ran = self.place.run(&["doctor", "--mission-control", "--config", &config, "-o", "json"]);
        DoctorReport { json: ran.json(), code: ran.code }
    }
}

impl DoctorReport {
    /// The steps, in their order.
    fn steps(&self) -> Vec<&str> {
        self.json["findings"].as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap()).collect()
    }

    fn found(&self, check: &str) -> &str {
        let findings = self.json["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["check"] == check);
        finding.unwrap_or_else(|| panic!("no {check}: {}", self.json))["found"].as_str().unwrap()
    }

    #[track_caller]
    fn is_fine(&self) {
        assert_eq!((self.code, self.json["status"].as_str()), (0, Some("ok")), "{}", self.json);
    }

    /// It failed at this step, for this, and says what to do.
    #[track_caller]
    fn failed_at(&self, check: &str, problem: &str) {
        assert_eq!((self.code, self.json["status"].as_str()), (3, Some("failed")), "{}", self.json);
        let last = self.json["findings"].as_array().unwrap().last().unwrap();
        assert_eq!((last["check"].as_str(), last["status"].as_str()), (Some(check), Some("failed")), "{}", self.json);
        assert!(last["found"].as_str().unwrap().contains(problem), "{problem}: {}", self.json);
        assert!(!last["advice"].as_str().unwrap().is_empty(), "{}", self.json);
    }
}
