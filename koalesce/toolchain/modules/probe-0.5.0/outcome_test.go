package main

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func TestErrnosWithoutICMP(t *testing.T) {
	for _, each := range []struct {
		errno syscall.Errno
		sent  bool
		want  Outcome
	}{
		{syscall.ECONNREFUSED, true, Refused},
		{syscall.ECONNRESET, true, Refused},
		{syscall.ETIMEDOUT, true, Dropped},
		{syscall.EPERM, false, Dropped},
		{syscall.ENOBUFS, false, Dropped},
		{syscall.ENETUNREACH, false, Errored},
		{syscall.EHOSTUNREACH, false, Errored},
		{syscall.EHOSTUNREACH, true, Rejected},
		{syscall.EACCES, false, Errored},
		{syscall.EINVAL, false, Errored},
		{syscall.EMFILE, false, Errored},
	} {
		if got, _ := fromErrno(each.errno, each.sent); got != each.want {
			t.Errorf("%v (sent: %v): got %s, expected %s", each.errno, each.sent, got, each.want)
		}
	}
}

func TestTheSenderOfAnICMPErrorDecides(t *testing.T) {
	target, router := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")
	target6 := netip.MustParseAddr("fd00::2")
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, each := range []struct {
		message extendedError
		target  netip.Addr
		want    Outcome
	}{
		{extendedError{origin: originICMP, kind: 3, code: 3, from: target}, target, Refused},
		{extendedError{origin: originICMP, kind: 3, code: 3, from: router}, target, Rejected},
		{extendedError{origin: originICMP, kind: 3, code: 13, from: target}, target, Rejected},
		{extendedError{origin: originICMP6, kind: 1, code: 4, from: target6}, target6, Refused},
		{extendedError{origin: originICMP6, kind: 1, code: 1, from: target6}, target6, Rejected},
		{extendedError{origin: originICMP, kind: 11, code: 0, from: router}, target, Rejected},
		{extendedError{origin: originICMP, kind: 3, code: 1, from: router}, target, Rejected},
		{extendedError{origin: originICMP, kind: 3, code: 1, from: loopback}, target, Dropped},
		{extendedError{origin: originICMP, kind: 3, code: 3, from: loopback}, target, Rejected},
	} {
		if got, reason := fromICMP(each.message, each.target); got != each.want {
			t.Errorf("%+v: got %s (%s), expected %s", each.message, got, reason, each.want)
		}
	}
}

func TestAReplysTimeIsThatOfItsLastByte(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("ready"))
			_, _ = conn.Read(make([]byte, 1)) // until the other side closes
		}
	}()

	port := listener.Addr().(*net.TCPAddr).Port
	began := time.Now()
	found := try(Target{Type: "tcp", Host: "127.0.0.1", Port: port, Limit: 5, ReadReply: true})

	if took := time.Since(began).Seconds(); found.Reply != "ready" || found.Seconds > took-replyPause.Seconds() {
		t.Errorf("got %q after %gs, of %gs", found.Reply, found.Seconds, took)
	}
}
