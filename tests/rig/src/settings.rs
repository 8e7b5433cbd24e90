//! A nodewall.toml for the lab, written part by part. It must not start anything.

/// The peers' addresses in the usual lab.
const LAB_PEERS: [&str; 4] = ["10.77.0.11", "fd77::11", "10.77.0.12", "fd77::12"];

/// What goes into the configuration. Unless said: the embedded profile, enforced for both peers of the lab on `eth0`.
#[derive(Clone, Debug)]
pub struct Settings {
    mode: &'static str,
    interfaces: Vec<String>,
    top: String,
    profile: String,
    peers: Vec<String>,
    rules: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: "enforce",
            interfaces: vec!["eth0".into()],
            top: String::new(),
            profile: String::new(),
            peers: LAB_PEERS.map(str::to_owned).into(),
            rules: String::new(),
        }
    }
}

impl Settings {
    /// Lines of `[profile]`.
    pub fn profile(lines: &str) -> Self {
        Self { profile: lines.to_owned(), ..Self::default() }
    }

    pub fn audit() -> Self {
        Self { mode: "audit", ..Self::default() }
    }

    pub fn interfaces(self, names: &[&str]) -> Self {
        Self { interfaces: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    pub fn peers(self, peers: &[&str]) -> Self {
        Self { peers: peers.iter().map(|peer| (*peer).to_owned()).collect(), ..self }
    }

    /// Lines above the first table.
    pub fn top(self, lines: &str) -> Self {
        Self { top: lines.to_owned(), ..self }
    }

    /// Whole `[[rule]]` tables.
    pub fn rules(self, tables: &str) -> Self {
        Self { rules: tables.to_owned(), ..self }
    }

    pub fn to_toml(&self) -> String {
        // None: the default set.
        let interfaces = match self.interfaces.as_slice() {
            [] => String::new(),
            names => format!("interfaces = {names:?}"),
        };
        format!(
            "mode = {:?}\n{interfaces}\n{}\n[profile]\n{}\n[peers]\nstatic = {:?}\n{}\n",
            self.mode, self.top, self.profile, self.peers, self.rules
        )
    }
}
