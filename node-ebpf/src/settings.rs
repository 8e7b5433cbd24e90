//! The settings of the shape (`node_ebpf_common::shape`), as the program asks for them.

/// Whether a setting is on. The symbol is in no object: the loader writes the number into this load, so the verifier sees a constant and takes the other
/// arm out.
macro_rules! setting {
    ($name:ident) => {{
        let value: u64;
        // SAFETY: loads a constant.
        unsafe {
            core::arch::asm!(
                concat!("{0} = setting_", stringify!($name), " ll"),
                out(reg) value,
                options(nomem, nostack, preserves_flags)
            );
        }
        value != 0
    }};
}
pub(crate) use setting;
