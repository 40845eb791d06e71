//! What to do about failures that bring no hint of their own.

use crate::error::Class;

/// A hint for a document's fault, where a guest gave none.
pub(crate) fn or_of_document(hint: String, class: Class, message: &str) -> String {
    if !hint.is_empty() {
        return hint;
    }
    let advice = match class {
        Class::DocumentSyntax if message.contains("control characters") => {
            "remove the character, or write it as an escape such as `\\x1b` in double quotes"
        }
        Class::DocumentSyntax if message.contains("tab") => "indent with blanks, not with tabs",
        Class::DocumentSyntax if message.contains("block sequence entries") => {
            "begin the list on a line of its own"
        }
        Class::DocumentSyntax if message.contains("',' or") => {
            "close the bracket, or put a comma between its entries"
        }
        Class::DocumentSyntax if message.contains("UTF") => "save the file as UTF-8",
        Class::DocumentSyntax => {
            "check quotes, brackets and indentation: what is wrong may begin some lines above"
        }
        Class::DocumentSchema if message.ends_with("takes a mapping") => {
            "write its fields as `name: value` below it, indented"
        }
        Class::DocumentSchema if message.ends_with("takes a list") => {
            "begin each of its entries with `- `"
        }
        Class::DocumentSchema if message.ends_with("takes a string") => {
            "write a text, in quotes where it looks like something else"
        }
        Class::DocumentSchema if message.contains("is tagged as") => {
            "remove the tag, or write a value that it fits"
        }
        Class::DocumentLimit => "split the document, or raise the limit",
        _ => "",
    };
    advice.to_owned()
}

/// A hint for a store's failure, where the store gave none.
pub(crate) fn or_of_store(hint: String, class: Class) -> String {
    if !hint.is_empty() {
        return hint;
    }
    let advice = match class {
        Class::StoreMisconfigured => "correct the settings of the store",
        Class::BackendDenied => "grant the store's account the right to read it",
        Class::Throttled => "try again later",
        Class::TimedOut => "give it more time, or see whether the store's backend is well",
        Class::Unreachable => "see whether the store's backend runs and can be reached from here",
        Class::CircuitOpen => "see why the store has failed before, and try again later",
        _ => "",
    };
    advice.to_owned()
}
