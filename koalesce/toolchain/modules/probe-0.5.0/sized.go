package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Constants of linux/in.h and linux/in6.h.
const (
	ipMTUDiscover   = 10
	ipv6MTUDiscover = 23
	pmtuDont        = 0 // packets may be cut on their way
	pmtuProbe       = 3 // they may not, and what the kernel believes of the path doesn't count
	headers4        = 20 + 8
	headers6        = 40 + 8
	askEcho         = "echo "
	echoed          = "k"
	padding         = " " // which netexec takes off, so that answers are short: they come back on paths of any size
	filler          = "k"
)

// sizedDatagram makes, with the headers of IP and UDP, a packet of so many bytes, which agnhost netexec (or its like) echoes.
func sizedDatagram(size int, v6 bool) []byte {
	headers := headers4
	if v6 {
		headers = headers6
	}
	question := askEcho + echoed
	return append([]byte(question), bytes.Repeat([]byte(padding), max(0, size-headers-len(question)))...)
}

// isEcho tells an answer to a sizedDatagram, with the padding or without.
func isEcho(answer []byte) bool {
	return string(bytes.TrimRight(answer, padding)) == echoed
}

// forbidCuts has a socket's packets go whole or not at all, or lets them be cut.
func forbidCuts(fd int, v6, forbid bool) error {
	value := pmtuDont
	if forbid {
		value = pmtuProbe
	}
	if v6 {
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6MTUDiscover, value)
	}
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipMTUDiscover, value)
}

// tooLong judges what is known of a packet that was too long to go on in one piece.
func tooLong(message extendedError) (Outcome, string) {
	if !message.isICMP() {
		return Rejected, fmt.Sprintf("too long: the source's own link takes %d bytes", message.info)
	}
	return Rejected, fmt.Sprintf("too long: ICMP %s from %s, which passes on %d bytes", message.name(), message.from, message.info)
}

// sendBulk sends so many bytes at once as a form to agnhost netexec (or its like), which answers once it has them all.
func sendBulk(conn net.Conn, target Target, result *Result) {
	what := fmt.Sprintf("%d bytes", target.Size)
	head := fmt.Sprintf(
		"POST /echo HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n",
		net.JoinHostPort(target.Host, fmt.Sprint(target.Port)), target.Size,
	)
	_, err := conn.Write(append([]byte(head), bytes.Repeat([]byte(filler), target.Size)...))
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = nil // the server may have answered before
	}
	if err == nil {
		var response *http.Response
		if response, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			defer func() { _ = response.Body.Close() }()
			if _, err = io.Copy(io.Discard, response.Body); err == nil && response.StatusCode != http.StatusOK {
				result.Failure = fmt.Sprintf("the server answered %s to %s (POST /echo)", response.Status, what)
			}
		}
	}
	if err != nil {
		afterConnect(err, what, result)
	}
}
