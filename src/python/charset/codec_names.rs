//! The names of Python's codecs: data for [`Codec::named`].
//!
//! Each line holds the name and the aliases of one codec of Python 3.11, from `encodings.aliases`,
//! as `encodings.normalize_encoding` spells them in lower case. Left out are code pages of DOS,
//! IBM and Apple, and the stateful encodings of mail (`iso2022_*`, `hz`, `utf_7`): no client of a
//! chat sends them.

use super::codec::{Codec, Order};

pub(super) static CODECS: &[(&str, Codec)] = &[
    ("utf_8 cp65001 u8 utf utf8 utf8_ucs2 utf8_ucs4", Codec::Utf8),
    ("utf_8_sig", Codec::Utf8Sig),
    (
        "ascii 646 ansi_x3.4_1968 ansi_x3.4_1986 ansi_x3_4_1968 cp367 csascii ibm367 iso646_us iso_646.irv_1991 iso_ir_6 us us_ascii",
        Codec::Ascii,
    ),
    (
        "latin_1 8859 cp819 csisolatin1 ibm819 iso8859 iso8859_1 iso_8859_1 iso_8859_1_1987 iso_ir_100 l1 latin latin1",
        Codec::Latin1,
    ),
    ("utf_16 u16 utf16", Codec::Utf16(None)),
    (
        "utf_16_le unicodelittleunmarked utf_16le",
        Codec::Utf16(Some(Order::Little)),
    ),
    (
        "utf_16_be unicodebigunmarked utf_16be",
        Codec::Utf16(Some(Order::Big)),
    ),
    ("utf_32 u32 utf32", Codec::Utf32(None)),
    ("utf_32_le utf_32le", Codec::Utf32(Some(Order::Little))),
    ("utf_32_be utf_32be", Codec::Utf32(Some(Order::Big))),
    (
        "cp949 949 ms949 uhc",
        Codec::MultiByte("cp949", encoding_rs::EUC_KR),
    ),
    (
        "euc_kr euckr korean ks_c_5601 ks_c_5601_1987 ks_x_1001 ksc5601 ksx1001 x_mac_korean",
        Codec::MultiByte("euc_kr", encoding_rs::EUC_KR),
    ),
    (
        "cp932 932 ms932 ms_kanji mskanji",
        Codec::MultiByte("cp932", encoding_rs::SHIFT_JIS),
    ),
    (
        "shift_jis csshiftjis s_jis shiftjis sjis x_mac_japanese",
        Codec::MultiByte("shift_jis", encoding_rs::SHIFT_JIS),
    ),
    (
        "euc_jp eucjp u_jis ujis",
        Codec::MultiByte("euc_jp", encoding_rs::EUC_JP),
    ),
    (
        "gbk 936 cp936 ms936",
        Codec::MultiByte("gbk", encoding_rs::GBK),
    ),
    (
        "gb2312 chinese csiso58gb231280 euc_cn euccn eucgb2312_cn gb2312_1980 gb2312_80 iso_ir_58 x_mac_simp_chinese",
        Codec::MultiByte("gb2312", encoding_rs::GBK),
    ),
    (
        "gb18030 gb18030_2000",
        Codec::MultiByte("gb18030", encoding_rs::GB18030),
    ),
    (
        "big5 big5_tw csbig5 x_mac_trad_chinese",
        Codec::MultiByte("big5", encoding_rs::BIG5),
    ),
    (
        "cp950 950 ms950",
        Codec::MultiByte("cp950", encoding_rs::BIG5),
    ),
    (
        "big5hkscs big5_hkscs hkscs",
        Codec::MultiByte("big5hkscs", encoding_rs::BIG5),
    ),
    (
        "cp1250 1250 windows_1250",
        Codec::SingleByte(encoding_rs::WINDOWS_1250),
    ),
    (
        "cp1251 1251 windows_1251",
        Codec::SingleByte(encoding_rs::WINDOWS_1251),
    ),
    (
        "cp1252 1252 windows_1252",
        Codec::SingleByte(encoding_rs::WINDOWS_1252),
    ),
    (
        "cp1253 1253 windows_1253",
        Codec::SingleByte(encoding_rs::WINDOWS_1253),
    ),
    (
        "cp1254 1254 windows_1254",
        Codec::SingleByte(encoding_rs::WINDOWS_1254),
    ),
    (
        "cp1255 1255 windows_1255",
        Codec::SingleByte(encoding_rs::WINDOWS_1255),
    ),
    (
        "cp1256 1256 windows_1256",
        Codec::SingleByte(encoding_rs::WINDOWS_1256),
    ),
    (
        "cp1257 1257 windows_1257",
        Codec::SingleByte(encoding_rs::WINDOWS_1257),
    ),
    (
        "cp1258 1258 windows_1258",
        Codec::SingleByte(encoding_rs::WINDOWS_1258),
    ),
    (
        "cp866 866 csibm866 ibm866",
        Codec::SingleByte(encoding_rs::IBM866),
    ),
    ("cp874", Codec::SingleByte(encoding_rs::WINDOWS_874)),
    ("koi8_r cskoi8r", Codec::SingleByte(encoding_rs::KOI8_R)),
    ("koi8_u", Codec::SingleByte(encoding_rs::KOI8_U)),
    (
        "mac_roman macintosh macroman",
        Codec::SingleByte(encoding_rs::MACINTOSH),
    ),
    (
        "mac_cyrillic maccyrillic",
        Codec::SingleByte(encoding_rs::X_MAC_CYRILLIC),
    ),
    (
        "iso8859_2 csisolatin2 iso_8859_2 iso_8859_2_1987 iso_ir_101 l2 latin2",
        Codec::Iso8859(encoding_rs::ISO_8859_2),
    ),
    (
        "iso8859_3 csisolatin3 iso_8859_3 iso_8859_3_1988 iso_ir_109 l3 latin3",
        Codec::Iso8859(encoding_rs::ISO_8859_3),
    ),
    (
        "iso8859_4 csisolatin4 iso_8859_4 iso_8859_4_1988 iso_ir_110 l4 latin4",
        Codec::Iso8859(encoding_rs::ISO_8859_4),
    ),
    (
        "iso8859_5 csisolatincyrillic cyrillic iso_8859_5 iso_8859_5_1988 iso_ir_144",
        Codec::Iso8859(encoding_rs::ISO_8859_5),
    ),
    (
        "iso8859_6 arabic asmo_708 csisolatinarabic ecma_114 iso_8859_6 iso_8859_6_1987 iso_ir_127",
        Codec::Iso8859(encoding_rs::ISO_8859_6),
    ),
    (
        "iso8859_7 csisolatingreek ecma_118 elot_928 greek greek8 iso_8859_7 iso_8859_7_1987 iso_ir_126",
        Codec::Iso8859(encoding_rs::ISO_8859_7),
    ),
    (
        "iso8859_8 csisolatinhebrew hebrew iso_8859_8 iso_8859_8_1988 iso_ir_138",
        Codec::Iso8859(encoding_rs::ISO_8859_8),
    ),
    (
        "iso8859_9 csisolatin5 iso_8859_9 iso_8859_9_1989 iso_ir_148 l5 latin5",
        Codec::Iso8859(encoding_rs::WINDOWS_1254),
    ),
    (
        "iso8859_10 csisolatin6 iso_8859_10 iso_8859_10_1992 iso_ir_157 l6 latin6",
        Codec::Iso8859(encoding_rs::ISO_8859_10),
    ),
    (
        "iso8859_11 iso_8859_11 iso_8859_11_2001 thai",
        Codec::Iso8859(encoding_rs::WINDOWS_874),
    ),
    (
        "iso8859_13 iso_8859_13 l7 latin7",
        Codec::Iso8859(encoding_rs::ISO_8859_13),
    ),
    (
        "iso8859_14 iso_8859_14 iso_8859_14_1998 iso_celtic iso_ir_199 l8 latin8",
        Codec::Iso8859(encoding_rs::ISO_8859_14),
    ),
    (
        "iso8859_15 iso_8859_15 l9 latin9",
        Codec::Iso8859(encoding_rs::ISO_8859_15),
    ),
    (
        "iso8859_16 iso_8859_16 iso_8859_16_2001 iso_ir_226 l10 latin10",
        Codec::Iso8859(encoding_rs::ISO_8859_16),
    ),
    ("base64_codec base64 base_64", Codec::NotText),
    ("bz2_codec bz2", Codec::NotText),
    ("hex_codec hex", Codec::NotText),
    (
        "quopri_codec quopri quoted_printable quotedprintable",
        Codec::NotText,
    ),
    ("rot_13 rot13", Codec::NotText),
    ("uu_codec uu", Codec::NotText),
    ("zlib_codec zip zlib", Codec::NotText),
];
