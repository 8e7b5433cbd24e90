//! The shape: what decides which instructions the program has. Only what no lever, learnt peer, trial or reload of data can change is in it; all else is
//! data in the image.
//!
//! The kernel program names each of these as an undefined symbol; the loader writes its value into the instruction before the program is loaded, and the
//! verifier takes out what can then not be reached. So what nobody asked for costs no instruction.

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// Which instructions the program has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Shape { $($(#[doc = $doc])+ pub $name: bool,)+ }

        impl Shape {
            /// The names of all settings.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// What the kernel program's symbol of this name stands for; `None`: it is no setting.
            pub fn symbol(&self, symbol: &str) -> Option<bool> {
                match symbol.strip_prefix(SYMBOL_PREFIX)? {
                    $(stringify!($name) => Some(self.$name),)+
                    _ => None,
                }
            }

            /// The same with the setting of this name turned on.
            #[must_use]
            pub fn with(mut self, name: &str) -> Self {
                match name {
                    $(stringify!($name) => self.$name = true,)+
                    _ => {}
                }
                self
            }
        }
    };
}

/// How a setting's symbol begins.
pub const SYMBOL_PREFIX: &str = "setting_";

settings! {
    /// Who is denied is noted, where the image asks for it.
    evidence;
    /// Traffic of peers is counted for each peer, too.
    per_peer;
    /// A log line for every frame (`--kernel-log`).
    log;
    /// Not every peer may come in by every interface.
    interface_rules;
    /// Programs of one processor can come between one another (`PREEMPT_RT`): what they count is added in one step each.
    atomic;
    /// The decision is returned instead of an action, and nothing is counted: for `replay` and tests.
    answer;
}

impl Shape {
    /// The filter that does nothing besides counting.
    pub const PLAIN: Self =
        Self { evidence: false, per_peer: false, log: false, interface_rules: false, atomic: false, answer: false };
    /// The filter that says what it decides.
    pub const ANSWERS: Self = Self { answer: true, ..Self::PLAIN };
    /// The filter that notes who is denied.
    pub const EVIDENCE: Self = Self { evidence: true, ..Self::PLAIN };
    /// The filter that notes who is denied and counts for each peer.
    pub const PER_PEER: Self = Self { per_peer: true, ..Self::EVIDENCE };
    /// The same with a log line for every frame.
    pub const LOGGED: Self = Self { log: true, ..Self::PER_PEER };
}

impl core::fmt::Display for Shape {
    /// The settings that are on, for messages: `evidence+per_peer`; `plain` when there are none.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut any = false;
        for name in Self::NAMES {
            if *self == self.with(name) {
                write!(f, "{}{name}", if any { "+" } else { "" })?;
                any = true;
            }
        }
        if any { Ok(()) } else { f.write_str("plain") }
    }
}
