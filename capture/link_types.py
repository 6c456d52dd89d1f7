"""Link types: which are read, and the name of one that is refused.

Numbers and names are the LINKTYPE_ values of https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from collections.abc import Mapping

NULL, ETHERNET, PPP, PPP_HDLC, RAW, LOOP, LINUX_SLL, LINUX_SLL2 = 0, 1, 9, 50, 101, 108, 113, 276
IPV4, IPV6 = 228, 229
#: What DLT_RAW was in files written before LINKTYPE_RAW existed.
RAW_BSD, RAW_OPENBSD = 12, 14

SUPPORTED: frozenset[int] = frozenset(
    {NULL, LOOP, ETHERNET, PPP, PPP_HDLC, RAW_BSD, RAW_OPENBSD, RAW, IPV4, IPV6, LINUX_SLL, LINUX_SLL2}
)

#: The remedy that ends every refusal.
ADVICE = "use a capture of Ethernet, Linux cooked, PPP, loopback or raw IP frames"

#: Of interfaces whose packets are left out.
_TOLD, _NAME_LENGTH = 4, 40

_NAMES: dict[int, str] = {
    3: "AX25",
    6: "IEEE802_5",
    7: "ARCNET_BSD",
    8: "SLIP",
    10: "FDDI",
    51: "PPP_ETHER",
    99: "SYMANTEC_FIREWALL",
    100: "ATM_RFC1483",
    104: "C_HDLC",
    105: "IEEE802_11",
    106: "ATM_CLIP",
    107: "FRELAY",
    109: "ENC",
    114: "LTALK",
    117: "PFLOG",
    119: "IEEE802_11_PRISM",
    122: "IP_OVER_FC",
    123: "SUNATM",
    127: "IEEE802_11_RADIOTAP",
    129: "ARCNET_LINUX",
    130: "JUNIPER_MLPPP",
    131: "JUNIPER_MLFR",
    132: "JUNIPER_ES",
    133: "JUNIPER_GGSN",
    134: "JUNIPER_MFR",
    135: "JUNIPER_ATM2",
    136: "JUNIPER_SERVICES",
    137: "JUNIPER_ATM1",
    138: "APPLE_IP_OVER_IEEE1394",
    139: "MTP2_WITH_PHDR",
    140: "MTP2",
    141: "MTP3",
    142: "SCCP",
    143: "DOCSIS",
    144: "LINUX_IRDA",
    163: "IEEE802_11_AVS",
    164: "JUNIPER_MONITOR",
    165: "BACNET_MS_TP",
    166: "PPP_PPPD",
    169: "GPRS_LLC",
    177: "LINUX_LAPD",
    178: "JUNIPER_ETHER",
    179: "JUNIPER_PPP",
    180: "JUNIPER_FRELAY",
    181: "JUNIPER_CHDLC",
    182: "MFR",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4_WITHFCS",
    197: "ERF",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    203: "LAPD",
    204: "PPP_WITH_DIR",
    205: "C_HDLC_WITH_DIR",
    206: "FRELAY_WITH_DIR",
    207: "LAPB_WITH_DIR",
    209: "IPMB_LINUX",
    210: "FLEXRAY",
    212: "LIN",
    215: "IEEE802_15_4_NONASK_PHY",
    220: "USB_LINUX_MMAPPED",
    224: "FC_2",
    225: "FC_2_WITH_FRAME_DELIMS",
    226: "IPNET",
    227: "CAN_SOCKETCAN",
    230: "IEEE802_15_4_NOFCS",
    231: "DBUS",
    235: "DVB_CI",
    236: "MUX27010",
    237: "STANAG_5066_D_PDU",
    239: "NFLOG",
    240: "NETANALYZER",
    241: "NETANALYZER_TRANSPARENT",
    242: "IPOIB",
    243: "MPEG_2_TS",
    245: "NFC_LLCP",
    247: "INFINIBAND",
    248: "SCTP",
    249: "USBPCAP",
    250: "RTAC_SERIAL",
    251: "BLUETOOTH_LE_LL",
    253: "NETLINK",
    254: "BLUETOOTH_LINUX_MONITOR",
    256: "BLUETOOTH_LE_LL_WITH_PHDR",
    257: "PROFIBUS_DL",
    258: "PKTAP",
    259: "EPON",
    266: "USB_DARWIN",
    268: "SDLC",
    270: "LORATAP",
    271: "VSOCK",
    272: "NORDIC_BLE",
    274: "ETHERNET_MPACKET",
    280: "VPP_DISPATCH",
    281: "DSA_TAG_BRCM",
    282: "DSA_TAG_BRCM_PREPEND",
    283: "IEEE802_15_4_TAP",
    284: "DSA_TAG_DSA",
    285: "DSA_TAG_EDSA",
}
_NAMES.update({147 + number: f"USER{number}" for number in range(16)})


def link_type_name(number: int) -> str:
    """`105 (IEEE802_11)`; the bare number where no name is known."""
    name = _NAMES.get(number)
    return f"{number} ({name})" if name else str(number)


def refusal(number: int) -> str:
    """Why frames of this link type are not read and what to do, for the end of an error line."""
    return f"link type {link_type_name(number)} is not read; {ADVICE}"


def omission(left_out: Mapping[tuple[int, str], int]) -> str:
    """How many packets of which link types were left out, by (link type, interface's name)."""
    parts = []
    for (number, interface), packets in sorted(left_out.items())[:_TOLD]:
        name = "".join(letter if letter.isprintable() else "?" for letter in interface[:_NAME_LENGTH])
        parts.append(f"{packets:,} of {link_type_name(number)}" + (f" on {name}" if name else ""))
    if len(left_out) > _TOLD:
        parts.append(f"and {len(left_out) - _TOLD} more")
    total = sum(left_out.values())
    were, their = ("packet was", "its") if total == 1 else ("packets were", "their")
    return f"{total:,} {were} left out, as {their} link type is not read: {', '.join(parts)}; {ADVICE}"
