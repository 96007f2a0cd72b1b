package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	maxReply   = 64 * 1024
	replyPause = 100 * time.Millisecond
)

// probeTCP connects, and speaks where the target says so.
func probeTCP(ctx context.Context, target Target, deadline time.Time) Result {
	addresses, from, err := ends(ctx, target)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	var conn net.Conn
	found := tryEach(addresses, deadline, func(address netip.Addr, until time.Time) verdict {
		made, found := connectTCP(netip.AddrPortFrom(address, uint16(target.Port)), from, until)
		conn = made
		return found
	})
	result := found.result()
	if conn == nil {
		return result
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(deadline)
	switch {
	case target.AskSource:
		askSourceTCP(conn, target, &result)
	case target.Size > 0:
		sendBulk(conn, target, &result)
	case target.Payload != "" || target.ReadReply:
		converse(conn, target, deadline, &result)
	}
	return result
}

func (v verdict) result() Result {
	result := Result{Outcome: v.outcome, Reason: v.reason, Failure: v.failure, Stage: v.stage, ICMP: v.icmp, MTU: v.mtu}
	if v.local.IsValid() && !v.local.Addr().IsUnspecified() {
		result.Local = v.local.String()
	}
	if v.remote.IsValid() {
		result.Remote = v.remote.String()
	}
	return result
}

// askSourceTCP asks an agnhost netexec (or its like) which address it saw.
func askSourceTCP(conn net.Conn, target Target, result *Result) {
	host := net.JoinHostPort(target.Host, fmt.Sprint(target.Port))
	_, err := fmt.Fprintf(conn, "GET /clientip HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	if err == nil {
		var response *http.Response
		if response, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			defer func() { _ = response.Body.Close() }()
			var body []byte
			body, err = io.ReadAll(io.LimitReader(response.Body, maxReply))
			result.Reply = string(body)
		}
	}
	if err != nil {
		afterConnect(err, "GET /clientip", result)
		return
	}
	result.seen()
}

// seen reads the address that a server saw out of its reply.
func (r *Result) seen() {
	text := strings.TrimSpace(r.Reply)
	if pair, err := netip.ParseAddrPort(text); err == nil {
		r.SeenSource = pair.Addr().Unmap().String()
	} else if address, err := netip.ParseAddr(text); err == nil {
		r.SeenSource = address.Unmap().String()
	} else {
		r.Failure = fmt.Sprintf("the server did not say which address it saw (GET /clientip): %.80q", text)
	}
}

// converse writes the payload and reads one answer.
func converse(conn net.Conn, target Target, deadline time.Time, result *Result) {
	if _, err := io.WriteString(conn, target.Payload); err != nil {
		afterConnect(err, "the payload", result)
		return
	}
	if !target.ReadReply {
		return
	}
	reply, at, err := readReply(conn, deadline)
	result.answered = at
	result.Reply = strings.ToValidUTF8(string(reply), "\uFFFD")
	if err != nil && len(reply) == 0 {
		afterConnect(err, "the payload", result)
	}
}

// readReply reads until the other side closes, pauses for longer than packets of one answer are apart, or the deadline comes; and
// says when the last of it came.
func readReply(conn net.Conn, deadline time.Time) ([]byte, time.Time, error) {
	buffer := make([]byte, maxReply)
	size, err := conn.Read(buffer)
	at := time.Now()
	for err == nil && size < len(buffer) {
		pause := time.Now().Add(replyPause)
		if pause.After(deadline) {
			pause = deadline
		}
		_ = conn.SetReadDeadline(pause)
		var more int
		more, err = conn.Read(buffer[size:])
		if size += more; more > 0 {
			at = time.Now()
		}
	}
	return buffer[:size], at, err
}

// afterConnect judges an error on an established connection: silence and resets are the network's, all else the server's.
func afterConnect(err error, what string, result *Result) {
	result.Stage = Answering
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		result.Outcome, result.Reason = Dropped, "connected, but no answer came to "+what
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		result.Outcome, result.Reason = Refused, "connected, then reset by peer before an answer to "+what
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		result.Failure = "connected, but closed without an answer to " + what
	default:
		result.Failure = err.Error()
	}
}
