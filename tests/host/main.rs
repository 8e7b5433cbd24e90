//! The host rung: the table of cases in this process, the documents against the code, the units' text, the store of evidence. It loads no program and
//! makes no network.
#![cfg(test)]

mod cases;
mod config_docs;
mod docs;
mod documents;
mod evidence;
mod units;
