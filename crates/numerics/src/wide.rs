//! One body, compiled twice: for the host's base instructions and for its wide ones.
//!
//! The wide version changes no bit: it has the same operations in the same order for each element, and
//! neither contracts nor reassociates them; more elements are worked on at once, that is all.
//!
//! Only what is inlined into a body is compiled with it: functions that bodies call for each element are
//! `#[inline(always)]`.

/// Declares functions whose bodies are compiled with wide vector instructions too; a call takes those where
/// the host has them.
macro_rules! wide {
    ($( $(#[$attribute:meta])* $vis:vis fn $name:ident ( $($arg:ident : $ty:ty),* $(,)? ) $(-> $result:ty)? $body:block )*) => { $(
        $(#[$attribute])*
        $vis fn $name($($arg: $ty),*) $(-> $result)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($arg: $ty),*) $(-> $result)? {
                    body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the host has the instructions that the function is compiled for.
                    #[allow(unsafe_code)]
                    return unsafe { with_avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )* };
}

pub(crate) use wide;
