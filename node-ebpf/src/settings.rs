//! The settings of the shape (`node_ebpf_common::shape`), as the program asks for them.

/// Whether a setting is on. What is off is not in the program, neither the question nor what depends on it.
///
/// `$number` is any number at hand (no pointer), for the question needs a register: whether it is above the largest one there is. It never is, and the verifier
/// knows that. The symbol is in no object: where the setting is on, the loader finds the question by it, and has it ask whether the number is at least 0.
macro_rules! setting {
    ($name:ident, $number:expr) => {
        'asked: {
            // SAFETY: changes nothing. The loader takes the call out.
            unsafe {
                core::arch::asm!(
                    concat!("call setting_", stringify!($name)),
                    "if {number} > -1 goto {on}",
                    number = in(reg) u64::from($number),
                    on = label {
                        // What leads to code that others use, too, would stay.
                        // SAFETY: changes nothing.
                        unsafe {
                            core::arch::asm!(
                                concat!("goto +0 /* ", stringify!($name), " */"),
                                options(nomem, nostack, preserves_flags)
                            );
                        }
                        break 'asked true;
                    },
                    options(nomem, nostack, preserves_flags)
                );
            }
            false
        }
    };
}
pub(crate) use setting;
