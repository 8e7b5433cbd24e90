//! `nodewall run`: the agent in the foreground.

use super::{FINE, Failure, block_on, reread_config, settings};
use crate::{
    agent,
    cli::{Common, RunArgs},
};

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<u8, Failure> {
    let (settings, state) = settings(common, args.kernel_log)?;
    block_on(agent::run(settings, &state, || reread_config(common)))??;
    Ok(FINE)
}
