//! Packet memory: the only file with packet pointers. It must not know what the bytes mean.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use node_ebpf_common::{Frame, frame::Wire};

/// Hides a value from LLVM, which would otherwise derive a pointer again after its check, or drop a check it believes redundant.
#[inline(always)]
fn launder(mut value: u64) -> u64 {
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) }
    value
}

/// A frame in one buffer.
pub struct Linear {
    start: usize,
    end: usize,
    length_bytes: usize,
}

impl Linear {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        let (start, end) = (context.data(), context.data_end());
        Self { start, end, length_bytes: launder((end - start) as u64) as usize }
    }
}

impl Frame for Linear {
    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.length_bytes
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        end <= self.length_bytes
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        self.length_bytes
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let at = launder((self.start + offset) as u64) as usize;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: [at, at + size) lies within the packet by the check above, which the verifier repeats; T is valid for all bytes.
        Some(unsafe { core::ptr::read_unaligned(at as *const T) })
    }

    #[inline(always)]
    fn read_linear<T: Wire>(&self, offset: usize) -> Option<T> {
        self.read(offset)
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }
}

/// A frame of one or more buffers. What the first buffer does not hold is fetched by helpers, behind tests that fail for every ordinary frame.
pub struct Frags {
    first: Linear,
    context: *mut aya_ebpf::bindings::xdp_md,
}

impl Frags {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        Self { first: Linear::new(context), context: context.ctx }
    }
}

impl Frame for Frags {
    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.first.length_bytes
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        self.first.holds(end) || end <= self.total_bytes()
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_get_buff_len(self.context) as usize }
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        if let Some(value) = self.first.read(offset) {
            return Some(value);
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes size_of::<T>() bytes into `value` or fails with a negative number.
        let result = unsafe {
            bpf_xdp_load_bytes(self.context, offset as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
        };
        // SAFETY: filled by the helper; T is valid for all bytes.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn read_linear<T: Wire>(&self, offset: usize) -> Option<T> {
        self.first.read(offset)
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }
}
