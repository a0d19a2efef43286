//! The names of Python's codecs: data for [`CharsetCodec::named`].
//!
//! Each line holds the name and the aliases of one codec of Python 3.11, from `encodings.aliases`,
//! as `encodings.normalize_encoding` spells them in lower case. Left out are code pages of DOS,
//! IBM and Apple, and the stateful encodings of mail (`iso2022_*`, `hz`, `utf_7`): no client of a
//! chat sends them.

use super::codec::{CharsetCodec, Order};

pub(super) static CODECS: &[(&str, CharsetCodec)] = &[
    (
        "utf_8 cp65001 u8 utf utf8 utf8_ucs2 utf8_ucs4",
        CharsetCodec::Utf8,
    ),
    ("utf_8_sig", CharsetCodec::Utf8Sig),
    (
        "ascii 646 ansi_x3.4_1968 ansi_x3.4_1986 ansi_x3_4_1968 cp367 csascii ibm367 iso646_us iso_646.irv_1991 iso_ir_6 us us_ascii",
        CharsetCodec::Ascii,
    ),
    (
        "latin_1 8859 cp819 csisolatin1 ibm819 iso8859 iso8859_1 iso_8859_1 iso_8859_1_1987 iso_ir_100 l1 latin latin1",
        CharsetCodec::Latin1,
    ),
    ("utf_16 u16 utf16", CharsetCodec::Utf16(None)),
    (
        "utf_16_le unicodelittleunmarked utf_16le",
        CharsetCodec::Utf16(Some(Order::Little)),
    ),
    (
        "utf_16_be unicodebigunmarked utf_16be",
        CharsetCodec::Utf16(Some(Order::Big)),
    ),
    ("utf_32 u32 utf32", CharsetCodec::Utf32(None)),
    (
        "utf_32_le utf_32le",
        CharsetCodec::Utf32(Some(Order::Little)),
    ),
    ("utf_32_be utf_32be", CharsetCodec::Utf32(Some(Order::Big))),
    (
        "cp949 949 ms949 uhc",
        CharsetCodec::MultiByte("cp949", encoding_rs::EUC_KR),
    ),
    (
        "euc_kr euckr korean ks_c_5601 ks_c_5601_1987 ks_x_1001 ksc5601 ksx1001 x_mac_korean",
        CharsetCodec::MultiByte("euc_kr", encoding_rs::EUC_KR),
    ),
    (
        "cp932 932 ms932 ms_kanji mskanji",
        CharsetCodec::MultiByte("cp932", encoding_rs::SHIFT_JIS),
    ),
    (
        "shift_jis csshiftjis s_jis shiftjis sjis x_mac_japanese",
        CharsetCodec::MultiByte("shift_jis", encoding_rs::SHIFT_JIS),
    ),
    (
        "euc_jp eucjp u_jis ujis",
        CharsetCodec::MultiByte("euc_jp", encoding_rs::EUC_JP),
    ),
    (
        "gbk 936 cp936 ms936",
        CharsetCodec::MultiByte("gbk", encoding_rs::GBK),
    ),
    (
        "gb2312 chinese csiso58gb231280 euc_cn euccn eucgb2312_cn gb2312_1980 gb2312_80 iso_ir_58 x_mac_simp_chinese",
        CharsetCodec::MultiByte("gb2312", encoding_rs::GBK),
    ),
    (
        "gb18030 gb18030_2000",
        CharsetCodec::MultiByte("gb18030", encoding_rs::GB18030),
    ),
    (
        "big5 big5_tw csbig5 x_mac_trad_chinese",
        CharsetCodec::MultiByte("big5", encoding_rs::BIG5),
    ),
    (
        "cp950 950 ms950",
        CharsetCodec::MultiByte("cp950", encoding_rs::BIG5),
    ),
    (
        "big5hkscs big5_hkscs hkscs",
        CharsetCodec::MultiByte("big5hkscs", encoding_rs::BIG5),
    ),
    (
        "cp1250 1250 windows_1250",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1250),
    ),
    (
        "cp1251 1251 windows_1251",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1251),
    ),
    (
        "cp1252 1252 windows_1252",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1252),
    ),
    (
        "cp1253 1253 windows_1253",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1253),
    ),
    (
        "cp1254 1254 windows_1254",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1254),
    ),
    (
        "cp1255 1255 windows_1255",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1255),
    ),
    (
        "cp1256 1256 windows_1256",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1256),
    ),
    (
        "cp1257 1257 windows_1257",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1257),
    ),
    (
        "cp1258 1258 windows_1258",
        CharsetCodec::SingleByte(encoding_rs::WINDOWS_1258),
    ),
    (
        "cp866 866 csibm866 ibm866",
        CharsetCodec::SingleByte(encoding_rs::IBM866),
    ),
    ("cp874", CharsetCodec::SingleByte(encoding_rs::WINDOWS_874)),
    (
        "koi8_r cskoi8r",
        CharsetCodec::SingleByte(encoding_rs::KOI8_R),
    ),
    ("koi8_u", CharsetCodec::SingleByte(encoding_rs::KOI8_U)),
    (
        "mac_roman macintosh macroman",
        CharsetCodec::SingleByte(encoding_rs::MACINTOSH),
    ),
    (
        "mac_cyrillic maccyrillic",
        CharsetCodec::SingleByte(encoding_rs::X_MAC_CYRILLIC),
    ),
    (
        "iso8859_2 csisolatin2 iso_8859_2 iso_8859_2_1987 iso_ir_101 l2 latin2",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_2),
    ),
    (
        "iso8859_3 csisolatin3 iso_8859_3 iso_8859_3_1988 iso_ir_109 l3 latin3",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_3),
    ),
    (
        "iso8859_4 csisolatin4 iso_8859_4 iso_8859_4_1988 iso_ir_110 l4 latin4",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_4),
    ),
    (
        "iso8859_5 csisolatincyrillic cyrillic iso_8859_5 iso_8859_5_1988 iso_ir_144",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_5),
    ),
    (
        "iso8859_6 arabic asmo_708 csisolatinarabic ecma_114 iso_8859_6 iso_8859_6_1987 iso_ir_127",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_6),
    ),
    (
        "iso8859_7 csisolatingreek ecma_118 elot_928 greek greek8 iso_8859_7 iso_8859_7_1987 iso_ir_126",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_7),
    ),
    (
        "iso8859_8 csisolatinhebrew hebrew iso_8859_8 iso_8859_8_1988 iso_ir_138",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_8),
    ),
    (
        "iso8859_9 csisolatin5 iso_8859_9 iso_8859_9_1989 iso_ir_148 l5 latin5",
        CharsetCodec::Iso8859(encoding_rs::WINDOWS_1254),
    ),
    (
        "iso8859_10 csisolatin6 iso_8859_10 iso_8859_10_1992 iso_ir_157 l6 latin6",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_10),
    ),
    (
        "iso8859_11 iso_8859_11 iso_8859_11_2001 thai",
        CharsetCodec::Iso8859(encoding_rs::WINDOWS_874),
    ),
    (
        "iso8859_13 iso_8859_13 l7 latin7",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_13),
    ),
    (
        "iso8859_14 iso_8859_14 iso_8859_14_1998 iso_celtic iso_ir_199 l8 latin8",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_14),
    ),
    (
        "iso8859_15 iso_8859_15 l9 latin9",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_15),
    ),
    (
        "iso8859_16 iso_8859_16 iso_8859_16_2001 iso_ir_226 l10 latin10",
        CharsetCodec::Iso8859(encoding_rs::ISO_8859_16),
    ),
    ("base64_codec base64 base_64", CharsetCodec::NotText),
    ("bz2_codec bz2", CharsetCodec::NotText),
    ("hex_codec hex", CharsetCodec::NotText),
    (
        "quopri_codec quopri quoted_printable quotedprintable",
        CharsetCodec::NotText,
    ),
    ("rot_13 rot13", CharsetCodec::NotText),
    ("uu_codec uu", CharsetCodec::NotText),
    ("zlib_codec zip zlib", CharsetCodec::NotText),
];
