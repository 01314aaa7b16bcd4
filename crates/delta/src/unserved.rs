//! What the kernel's failures mean to whoever asked.

use delta_kernel::KernelError;
use valetkey_core::Error;
use valetkey_core::name::shortened;
use valetkey_core::nouns::table::Unserved;

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

/// The kernel's words, in the form of ours.
fn words(said: &str) -> String {
    shortened(&said.replace('\'', "`"))
}

impl From<KernelError> for Refused {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Backtraced { source, .. } => (*source).into(),
            KernelError::Unsupported(what) => {
                Unserved::Unsupported(format!("a feature of the Delta protocol ({})", words(&what))).into()
            }
            KernelError::InvalidColumnMappingMode(mode) => {
                Unserved::Unsupported(format!("the column mapping mode `{}`", words(&mode))).into()
            }
            KernelError::InvalidProtocol(what) => {
                Unserved::Unsupported(format!("a protocol of its own ({})", words(&what))).into()
            }
            KernelError::MaxCatalogVersion(_) => {
                Unserved::Unsupported("commits that a catalogue keeps".to_owned()).into()
            }
            KernelError::Cancelled => Unserved::TooMuch("log entries").into(),
            other => Unserved::Broken(other.to_string()).into(),
        }
    }
}
