//! The services of an agent that stand beside the filter, as the configuration wants them: the push of counters, the recording of evidence. Neither can hold the agent.

use super::Keeper;
use crate::{agent::evidence::Pinned, export::push::Pusher};
use nodewall_evidence::recorder::{Recorder, Settings};
use nodewall_policy::config::{Config, ConfigErrors};

impl<R> Keeper<R>
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    /// Starts the push of the configuration, or starts it anew where that wants another.
    pub(super) fn push(&mut self) {
        let Ok(config) = &self.start.config else { return };
        if config.push == self.pushed {
            return;
        }
        self.pushed.clone_from(&config.push);
        self.health.pushes = config.push.is_some();
        let (state, bpffs) = (self.site.state.clone(), self.site.bpffs.clone());
        match Pusher::start(state, bpffs, config.push.clone(), self.pusher.take()) {
            Ok(pusher) => self.pusher = pusher,
            Err(error) => tracing::error!("the counters are not pushed: the push could not be started: {error}"),
        }
    }

    /// Records evidence as the configuration wants it.
    pub(super) fn record(&mut self) {
        let Ok(config) = &self.start.config else { return };
        let settings = Settings::wanted(&config.evidence, &config.ledger);
        self.health.records = settings.is_some();
        match (&self.recorder, settings) {
            (Some(recorder), Some(settings)) => recorder.configure(settings),
            (None, Some(settings)) => {
                let (bpffs, state) = (self.site.bpffs.clone(), self.site.state.clone());
                match Recorder::start(state.clone(), Box::new(Pinned { bpffs, state }), settings) {
                    Ok(recorder) => self.recorder = Some(recorder),
                    Err(error) => tracing::error!("evidence is not recorded: its thread could not be started: {error}"),
                }
            }
            (_, None) => self.recorder = None,
        }
    }
}
