package main

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Outcome is what the network did with a try. They are never folded into one another.
//
//	allowed   an answer came back (tcp, sctp: the handshake was completed)
//	refused   the target itself said no: a TCP reset, or ICMP port unreachable from its own address
//	rejected  somebody said no by ICMP: any other error, or one from another address
//	dropped   nothing came back within the limit
//	error     it couldn't be tried: no such name, no route at the source, a bad request
//
// Two cases need a decision. EPERM (and ENOBUFS) on sending means that a filter in the source's own network namespace discarded
// the packet: that is "dropped", because the same filter makes TCP time out silently, and an outcome must not depend on the
// protocol. An error of the source's own routing table (ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL from connect, without
// ICMP) is "error": nothing was sent, so that nothing is known about the network. ICMP host unreachable from one of the source's
// own addresses means that a neighbour did not answer (ARP, ND), which is "dropped", as it is with a limit shorter than the kernel's.
//
// Behind a DNAT (a Service), the kernel rewrites the address of ICMP errors to that of the Service.
type Outcome string

const (
	Allowed  Outcome = "allowed"
	Refused  Outcome = "refused"
	Rejected Outcome = "rejected"
	Dropped  Outcome = "dropped"
	Errored  Outcome = "error"
)

// verdict is the outcome of a try with its grounds.
type verdict struct {
	outcome Outcome
	reason  string
	failure string
	stage   Stage
	icmp    *ICMP
	mtu     int
	local   netip.AddrPort
	remote  netip.AddrPort
}

func (v verdict) Error() string {
	return fmt.Sprintf("%s: %s", v.outcome, v.reason)
}

const filtered = "discarded by a packet filter in the source's own network namespace"

// fromErrno judges an error of a system call that no ICMP message explains. `sent` says whether a packet had left before.
func fromErrno(err syscall.Errno, sent bool) (Outcome, string) {
	switch err {
	case syscall.ECONNREFUSED:
		return Refused, "connection refused"
	case syscall.ECONNRESET, syscall.EPIPE:
		return Refused, "connection reset by peer"
	case syscall.ETIMEDOUT:
		return Dropped, "nothing came back"
	case syscall.EPERM, syscall.ENOBUFS:
		return Dropped, filtered
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EACCES:
		if sent { // kernels before 5.9 don't queue the ICMP error of a connecting TCP socket
			return Rejected, err.Error()
		}
		return Errored, "no route at the source: " + err.Error()
	case syscall.EINVAL:
		if !sent {
			return Errored, "no route at the source: blackholed"
		}
	}
	return Errored, err.Error()
}

// fromICMP judges an ICMP error about a packet to `target`.
func fromICMP(message extendedError, target netip.Addr) (Outcome, string) {
	text := fmt.Sprintf("ICMP %s from %s", message.name(), message.from)
	switch {
	case message.isPortUnreachable() && message.from == target:
		return Refused, text
	case message.isHostUnreachable() && isOwnAddress(message.from):
		return Dropped, "the neighbour does not answer (ARP, ND)"
	}
	return Rejected, text
}

func isOwnAddress(address netip.Addr) bool {
	for _, own := range ownAddresses() {
		if own == address {
			return true
		}
	}
	return false
}

// ownAddresses lists the addresses of this network namespace's interfaces.
func ownAddresses() []netip.Addr {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var result []netip.Addr
	for _, each := range found {
		if prefix, err := netip.ParsePrefix(each.String()); err == nil {
			result = append(result, prefix.Addr())
		}
	}
	return result
}
