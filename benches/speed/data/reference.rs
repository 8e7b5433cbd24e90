//! The reference programs of `node-ebpf/src/bin/reference`, loaded with the same policy as nodewall. One of the few places that name aya: these
//! programs are none of the data path's business.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
};

use super::{frames::MixWords, sources::Sources};
use anyhow::{Context, Result};
use aya::{
    EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, lpm_trie::Key},
    programs::Xdp,
};
use ipnet::IpNet;
use nodewall_datapath::{ReferenceObject, load_reference};
use nodewall_policy::source_of;
use nodewall_testbed::program::Program;

/// What a cell counted: packets, bytes.
pub type Counted = [u64; 2];

/// The loaded reference object.
pub struct Reference {
    object: ReferenceObject,
    ids: BTreeMap<String, u32>,
    mix: Array<MapData, MixWords>,
    next: Map,
    next_frags: Map,
}

impl Reference {
    /// Loads the object and fills its maps, each just as large as it must be.
    pub fn load(sources: &Sources) -> Result<Self> {
        let (v4, v6): (Vec<_>, Vec<_>) = sources.groups.iter().partition(|(net, _)| matches!(net, IpNet::V4(_)));
        let mut loader = EbpfLoader::new();
        for (map, entries) in
            [("ref_hash_v4", v4.len()), ("ref_hash_v6", v6.len()), ("ref_lpm_v4", v4.len()), ("ref_lpm_v6", v6.len())]
        {
            loader.map_max_entries(map, entries as u32);
        }
        let mut object = load_reference(&mut loader, Some(&sources.compiled.image)).context("the reference object")?;
        let ebpf = &mut object.ebpf;
        // Before the maps are taken out: programs refer to them.
        let mut ids = BTreeMap::new();
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| format!("loading {name}"))?;
            ids.insert(name.to_owned(), program.info()?.id());
        }
        let mut take =
            |name: &str| ebpf.take_map(name).with_context(|| format!("no map {name} in the reference object"));
        let mut hash_v4 = HashMap::<_, u32, u32>::try_from(take("ref_hash_v4")?)?;
        let mut hash_v6 = HashMap::<_, [u64; 2], u32>::try_from(take("ref_hash_v6")?)?;
        let mut lpm_v4 = LpmTrie::<_, u32, u32>::try_from(take("ref_lpm_v4")?)?;
        let mut lpm_v6 = LpmTrie::<_, [u64; 2], u32>::try_from(take("ref_lpm_v6")?)?;
        for (net, groups) in &sources.groups {
            let source = source_of(net.network());
            let length = u32::from(net.prefix_len());
            let is_exact = net.prefix_len() == net.max_prefix_len();
            if source.is_v6 == 0 {
                lpm_v4.insert(&Key::new(length, source.lo as u32), groups, 0)?;
                if is_exact {
                    hash_v4.insert(source.lo as u32, groups, 0)?;
                }
            } else {
                lpm_v6.insert(&Key::new(length, [source.hi, source.lo]), groups, 0)?;
                if is_exact {
                    hash_v6.insert([source.hi, source.lo], groups, 0)?;
                }
            }
        }
        let mix = take("mix_table")?.try_into()?;
        let (next, next_frags) = (take("mix_next")?, take("mix_next_frags")?);
        Ok(Self { object, ids, mix, next, next_frags })
    }

    /// One of its programs.
    pub fn program(&self, name: &str) -> Result<Program> {
        let id = self.ids.get(name).with_context(|| format!("no program {name} in the reference object"))?;
        Ok(Program::by_id(*id)?)
    }

    /// Which mix is written into frames from now on, from its first entry.
    pub fn set_mix(&mut self, words: &MixWords) -> Result<()> {
        Ok(self.mix.set(0, words, 0)?)
    }

    /// Where the prologues look for the measured program: for frames of one buffer, and of many.
    pub fn next(&self, frags: bool) -> Result<BorrowedFd<'_>> {
        match if frags { &self.next_frags } else { &self.next } {
            Map::ProgramArray(data) => Ok(data.fd().as_fd()),
            _ => anyhow::bail!("the reference object's program arrays are of another type"),
        }
    }

    /// A counter cell, summed over the CPUs.
    pub fn counted(&self, cell: u32) -> Result<Counted> {
        let counter = self.object.cell(cell)?;
        Ok([counter.packets, counter.bytes])
    }
}
