package main

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// icmpAbout is an ICMP error, as raw sockets give it, about a packet of a protocol between two ports.
func icmpAbout(kind, code, protocol byte, own, other uint16, to netip.Addr) []byte {
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, own), other)
	head := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	if to.Is6() {
		inner := make([]byte, 40)
		inner[6] = protocol
		address := to.As16()
		copy(inner[24:], address[:])
		return append(append(head, inner...), ports...)
	}
	outer, inner := make([]byte, 24), make([]byte, 20)
	outer[0], inner[0], inner[9] = 0x46, 0x45, protocol // the outer one has options
	address := to.As4()
	copy(inner[16:], address[:])
	return append(append(append(outer, head...), inner...), ports...)
}

func TestICMPIsAboutTheAssociationThatWasTried(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	unlike := netip.MustParseAddr("10.0.0.2")
	cases := []struct {
		name   string
		packet []byte
		target netip.Addr
		ok     bool
	}{
		{"its own", icmpAbout(3, 3, protocolSCTP, 4000, 80, four), four, true},
		{"of IPv6", icmpAbout(1, 1, protocolSCTP, 4000, 80, six), six, true},
		{"of another port here", icmpAbout(3, 3, protocolSCTP, 4001, 80, four), four, false},
		{"of another port there", icmpAbout(3, 3, protocolSCTP, 4000, 81, four), four, false},
		{"of another target", icmpAbout(3, 3, protocolSCTP, 4000, 80, unlike), four, false},
		{"of another protocol", icmpAbout(3, 3, 6, 4000, 80, four), four, false},
		{"an answer to a ping", icmpAbout(0, 0, protocolSCTP, 4000, 80, four), four, false},
		{"cut short", icmpAbout(3, 3, protocolSCTP, 4000, 80, four)[:50], four, false},
		{"nothing", nil, four, false},
	}
	for _, each := range cases {
		message, ok := aboutSCTP(each.packet, 4000, netip.AddrPortFrom(each.target, 80))
		if ok != each.ok {
			t.Errorf("%s: got %v", each.name, ok)
		}
		if ok && !message.isICMP() {
			t.Errorf("%s: %v is no ICMP", each.name, message)
		}
	}
}

func TestAFilterIsToldFromTheTargetItself(t *testing.T) {
	target, filter := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.254")
	message, _ := aboutSCTP(icmpAbout(3, 3, protocolSCTP, 4000, 80, target), 4000, netip.AddrPortFrom(target, 80))
	for from, wanted := range map[netip.Addr]Outcome{target: Refused, filter: Rejected} {
		message.from = from
		if outcome, _ := fromICMP(message, target); outcome != wanted {
			t.Errorf("from %s: %s, not %s", from, outcome, wanted)
		}
	}
}
