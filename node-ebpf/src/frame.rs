//! Packet memory: the only file with packet pointers. It must not know what the bytes mean.

use core::{arch::asm, hint::cold_path, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use node_ebpf_common::{Frame, frame::Wire};

use crate::settings::setting;

/// Hides a value from LLVM, which would otherwise derive a pointer again after its check, or drop a check it believes redundant. A jump to the next
/// instruction, for the assembler wants one: the kernel takes it out (Linux 5.1).
#[inline(always)]
pub fn launder(mut value: u64) -> u64 {
    // SAFETY: changes nothing.
    unsafe { asm!("goto +0 /* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) }
    value
}

/// The same context, of which the compiler knows nothing: what is read by it is read again, and nothing read before is kept for it.
#[inline(always)]
pub fn anew(context: &XdpContext) -> XdpContext {
    XdpContext::new(launder(context.ctx as u64) as *mut _)
}

/// A frame in one buffer.
pub struct Linear {
    start: usize,
    end: usize,
    length_bytes: usize,
    /// To ask by which interface it came in.
    context: *mut xdp_md,
}

impl Linear {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        let (start, end) = (context.data(), context.data_end());
        Self { start, end, length_bytes: launder((end - start) as u64) as usize, context: context.ctx }
    }
}

impl Frame for Linear {
    type Forgotten<'a> = Self;

    #[inline(always)]
    fn interface(&self, number: u64) -> Option<u32> {
        // SAFETY: the context is this program's own; the verifier turns the field into a load.
        if setting!(interface_rules, number) { Some(unsafe { (*self.context).ingress_ifindex }) } else { None }
    }

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
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        let at = self.start + skipped;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `read`. At a constant offset LLVM keeps the pointer that was checked, so nothing needs to be hidden from it.
        Some(unsafe { core::ptr::read_unaligned(at as *const T) })
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Self {
        // Sum and exclusive or with what the verifier does not know leave nothing of what it knew.
        let zero = launder(zero);
        let start = launder((self.start as u64).wrapping_add(zero & 63)) as usize;
        let length_bytes = launder(self.length_bytes as u64 ^ zero) as usize;
        Self { start, end: self.end, length_bytes, context: self.context }
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        // SAFETY: the pointer of a reference, unchanged.
        unsafe { &*(launder(core::ptr::from_ref(value) as u64) as *const T) }
    }
}

/// A frame of one or more buffers. What the first buffer does not hold is fetched by helpers, behind tests that fail for every ordinary frame.
pub struct Frags {
    first: Linear,
}

impl Frags {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        Self { first: Linear::new(context) }
    }
}

impl Frame for Frags {
    type Forgotten<'a> = Self;

    #[inline(always)]
    fn interface(&self, number: u64) -> Option<u32> {
        self.first.interface(number)
    }

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
        unsafe { bpf_xdp_get_buff_len(self.first.context) as usize }
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        if let Some(value) = self.first.read(offset) {
            return Some(value);
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes size_of::<T>() bytes into `value` or fails with a negative number.
        let result = unsafe {
            bpf_xdp_load_bytes(self.first.context, offset as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
        };
        // SAFETY: filled by the helper; T is valid for all bytes.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        self.first.start(skipped)
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Self {
        Self { first: self.first.forgotten(zero) }
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        self.first.anew(value)
    }
}

/// A frame that this node sends: a socket buffer whose first part can be read directly, often the headers alone. What it does not hold is fetched by a
/// helper, behind tests that fail for every ordinary frame.
pub struct Outgoing {
    first: Linear,
    skb: *mut __sk_buff,
    /// Of the whole buffer. An aggregate that the device will cut up is one frame here, and its IP header states the length of all of it.
    length_bytes: usize,
}

impl Outgoing {
    #[inline(always)]
    pub fn new(context: &TcContext) -> Self {
        let (start, end) = (context.data(), context.data_end());
        let length_bytes = launder((end - start) as u64) as usize;
        // Nothing asks by which interface a frame goes.
        let first = Linear { start, end, length_bytes, context: core::ptr::null_mut() };
        Self { first, skb: context.skb.skb, length_bytes: context.len() as usize }
    }
}

impl Frame for Outgoing {
    type Forgotten<'a> = Self;

    // What common shapes ask about is whether the packet ends within the frame; their headers are read by `start`, which looks at the first part alone.
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
        if let Some(value) = self.first.read(offset) {
            return Some(value);
        }
        cold_path();
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes size_of::<T>() bytes into `value` or fails with a negative number.
        let result = unsafe {
            bpf_skb_load_bytes(self.skb.cast(), offset as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
        };
        // SAFETY: filled by the helper; T is valid for all bytes.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        self.first.start(skipped)
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Self {
        let length_bytes = launder(self.length_bytes as u64 ^ launder(zero)) as usize;
        Self { first: self.first.forgotten(zero), skb: self.skb, length_bytes }
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        self.first.anew(value)
    }
}
