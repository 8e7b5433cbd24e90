//! What the fuzz targets share: the policies they judge by, the plain reading that contradicts the verdict function, a policy written back
//! as configuration, and an allocator that remembers the largest request. Must not use the project's packet parser.

pub mod allocation;
pub mod oracle;
pub mod policies;
pub mod rewrite;

/// The table of cases, for its frame builder and as seeds.
pub use nodewall_cases as cases;
