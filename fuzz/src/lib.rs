//! What the fuzz targets share: the policies they judge by, the tests' model of the verdict, a policy written back
//! as configuration, and an allocator that remembers the largest request. Must not use the project's packet parser.

pub mod allocation;
pub mod model;
pub mod policies;
pub mod rewrite;

/// The table of cases, for its frame builder and as seeds.
pub use nodewall_cases as cases;
