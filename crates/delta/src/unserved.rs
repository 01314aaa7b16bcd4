//! What the kernel's failures mean to whoever asked.

use delta_kernel::KernelError;
use valetkey_core::Error;
use valetkey_core::name::shortened;
use valetkey_core::table::Unserved;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// For a reason that stays.
    Unserved(Unserved),
    /// Because the objects could not be read, or of a defect.
    Failed(Error),
}

impl From<Unserved> for Refused {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unserved(unserved) => unserved.into(),
            Refused::Failed(error) => error,
        }
    }
}

impl From<KernelError> for Refused {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Backtraced { source, .. } => (*source).into(),
            KernelError::Unsupported(what) => {
                Unserved::Unsupported(format!("a feature of the Delta protocol ({})", shortened(&what))).into()
            }
            KernelError::InvalidColumnMappingMode(mode) => {
                Unserved::Unsupported(format!("the column mapping mode `{}`", shortened(&mode))).into()
            }
            KernelError::Cancelled => Unserved::TooMuch("log entries").into(),
            other => Unserved::Broken(other.to_string()).into(),
        }
    }
}
