package main

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestASizedPacketCountsItsHeaders(t *testing.T) {
	if got := len(sizedDatagram(1500, false)); got != 1500-20-8 {
		t.Errorf("IPv4: %d bytes of payload", got)
	}
	if got := len(sizedDatagram(1500, true)); got != 1500-40-8 {
		t.Errorf("IPv6: %d bytes of payload", got)
	}
}

func TestOnlyWhatWasSentIsAnEcho(t *testing.T) {
	sent := string(sizedDatagram(100, false))
	for text, want := range map[string]bool{
		strings.TrimPrefix(sent, askEcho): true, strings.TrimPrefix(strings.TrimSpace(sent), askEcho): true, "": false,
		"web-0": false, sent: false,
	} {
		if got := isEcho([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAPacketThatIsTooLongIsRejectedWithTheMTU(t *testing.T) {
	router := netip.MustParseAddr("10.0.0.1")
	for _, each := range []struct {
		message extendedError
		want    string
	}{
		{extendedError{errno: syscall.EMSGSIZE, origin: originICMP, kind: 3, code: 4, info: 1400, from: router},
			"too long: ICMP fragmentation needed from 10.0.0.1, which passes on 1400 bytes"},
		{extendedError{errno: syscall.EMSGSIZE, origin: originICMP6, kind: 2, info: 1280, from: netip.MustParseAddr("fd00::1")},
			"too long: ICMP packet too big from fd00::1, which passes on 1280 bytes"},
		{extendedError{errno: syscall.EMSGSIZE, origin: originLocal, info: 1500}, "too long: the source's own link takes 1500 bytes"},
	} {
		if outcome, reason := tooLong(each.message); outcome != Rejected || reason != each.want || !each.message.isTooBig() {
			t.Errorf("%+v: %s, %s", each.message, outcome, reason)
		}
	}
}
