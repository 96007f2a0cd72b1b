package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// probeUDP sends one datagram and waits for one. A server that doesn't answer can't be told from a filter.
func probeUDP(ctx context.Context, target Target, deadline time.Time) Result {
	addresses, from, err := ends(ctx, target)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	var reply []byte
	found := tryEach(addresses, deadline, func(address netip.Addr, until time.Time) verdict {
		question := questionOf(target, address)
		answer, found := exchangeUDP(netip.AddrPortFrom(address, uint16(target.Port)), question, from, until)
		reply = answer
		return found
	})
	result := found.result()
	if found.outcome == Allowed && target.Size > 0 {
		if !isEcho(reply) {
			result.Failure = fmt.Sprintf("the server did not echo what it was sent, but said %.80q", reply)
		}
	} else if found.outcome == Allowed {
		result.Reply = strings.ToValidUTF8(string(reply), "\uFFFD")
		if target.AskSource {
			result.seen()
		}
	}
	return result
}

const (
	// Kernels tell a peer of a closed port once a second, after a first few (icmp_ratelimit, icmp(7)), so that silence is believed only
	// after more than that, and the datagram is sent again meanwhile, also later than a second after the first: a closed port that is
	// asked often must not look like a filter.
	silence = 1500 * time.Millisecond
	again   = 300 * time.Millisecond
)

// datagram is what is sent; whether its size was asked for, and whether it must go in one piece.
type datagram struct {
	payload        []byte
	isSized, whole bool
}

// questionOf is what a target is asked.
func questionOf(target Target, address netip.Addr) datagram {
	switch {
	case target.Size > 0:
		return datagram{payload: sizedDatagram(target.Size, address.Is6()), isSized: true, whole: target.Whole}
	case target.AskSource:
		return datagram{payload: []byte("clientip")}
	case target.Payload == "":
		return datagram{payload: []byte("hostname")}
	}
	return datagram{payload: []byte(target.Payload)}
}

// exchangeUDP sends a datagram, again and again, and returns the answer, which is nil unless the outcome is allowed.
func exchangeUDP(target netip.AddrPort, question datagram, from netip.AddrPort, deadline time.Time) ([]byte, verdict) {
	fd, err := open(syscall.SOCK_DGRAM, target, from)
	if fd < 0 {
		return nil, judge(-1, err, false, target)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err != nil {
		return nil, judge(fd, err, false, target)
	}
	if question.isSized {
		if err := forbidCuts(fd, target.Addr().Is6(), question.whole); err != nil {
			return nil, verdict{outcome: Errored, reason: "IP_MTU_DISCOVER: " + err.Error(), remote: target}
		}
	}
	end := time.Now().Add(silence)
	if deadline.After(end) {
		end = deadline
	}
	buffer := make([]byte, maxReply)
	for sent := 0; time.Now().Before(end); sent++ {
		if _, err := syscall.Write(fd, question.payload); err != nil {
			return nil, judgeOf(fd, err, sent > 0, target, question.whole)
		}
		pause := time.Now().Add(again)
		if pause.After(end) {
			pause = end
		}
		for await(fd, pollIn, pause) {
			size, err := syscall.Read(fd, buffer)
			if err == nil && time.Now().After(deadline) {
				return nil, verdict{outcome: Dropped, reason: "an answer came, but too late", local: localAddress(fd), remote: target}
			}
			if err == nil {
				return buffer[:size], verdict{outcome: Allowed, local: localAddress(fd), remote: target}
			}
			found := judgeOf(fd, err, true, target, question.whole)
			if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) || found.icmp != nil {
				return nil, found
			}
		}
	}
	return nil, judgeOf(fd, syscall.ETIMEDOUT, true, target, question.whole)
}
