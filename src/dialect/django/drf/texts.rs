//! The texts of field errors. Those without a Korean form have none in the framework either.

use super::Language;

pub(super) const NOT_A_STRING: &str = "Not a valid string.";
pub(super) const NOT_A_BOOLEAN: &str = "Must be a valid boolean.";

pub(super) fn required(language: Language) -> &'static str {
    match language {
        Language::EnUs => "This field is required.",
        Language::Ko => "이 필드는 필수 항목입니다.",
    }
}

pub(super) fn null(language: Language) -> &'static str {
    match language {
        Language::EnUs => "This field may not be null.",
        Language::Ko => "이 필드는 null일 수 없습니다.",
    }
}

pub(super) fn blank(language: Language) -> &'static str {
    match language {
        Language::EnUs => "This field may not be blank.",
        Language::Ko => "이 필드는 blank일 수 없습니다.",
    }
}

/// Returns the text. The Korean one ends in a space.
pub(super) fn nul_character(language: Language) -> &'static str {
    match language {
        Language::EnUs => "Null characters are not allowed.",
        Language::Ko => "null 문자는 사용할 수 없습니다. ",
    }
}

pub(super) fn max_length(max: usize, language: Language) -> String {
    match language {
        Language::EnUs => format!("Ensure this field has no more than {max} characters."),
        Language::Ko => format!("이 필드의 글자 수가 {max} 이하인지 확인하십시오."),
    }
}

pub(super) fn surrogate(point: u32) -> String {
    format!("Surrogate characters are not allowed: U+{point:X}.")
}

/// The value is echoed as it is, quotes in it included. Test:
/// `only_three_message_types_are_choices_and_others_are_echoed_as_python_prints_them`.
pub(super) fn not_a_choice(value: &str, language: Language) -> String {
    match language {
        Language::EnUs => format!("\"{value}\" is not a valid choice."),
        Language::Ko => format!("\"{value}\"이 유효하지 않은 선택(choice)입니다."),
    }
}

/// `python_type` is Python's name of what came instead.
pub(super) fn not_an_object(python_type: &str, language: Language) -> String {
    match language {
        Language::EnUs => {
            format!("Invalid data. Expected a dictionary, but got {python_type}.")
        }
        Language::Ko => {
            format!("유효하지 않은 데이터. 딕셔너리(dictionary)대신 {python_type}를 받았습니다.")
        }
    }
}
