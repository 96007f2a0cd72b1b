package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// What is measured: the first byte of a connection tells the other side.
const (
	streaming  = 's' // bytes are sent, as many as go; the other side counts those that arrive, and says how many at the end
	requesting = 'r' // a request of so many bytes (which follows, 4 bytes) is answered by as many, again and again
	connecting = 'c' // the byte is answered, and the connection is over

	chunk = 128 * 1024
	// longest is how long what was sent may be under way after the end, and a connection may take.
	longest = 15 * time.Second
	// A worker whose connections fail so often in a row makes no more: it would only fill the machine with tries.
	mostFailures = 5
)

// Wish is what to measure.
type Wish struct {
	Kind    byte
	Host    string
	Port    int
	Family  string
	Seconds time.Duration
	Streams int // connections at the same time
	Size    int // bytes of a request
}

// Measured is what came of it. Count is of bytes that have arrived, of requests that were answered, or of connections that were made and answered.
type Measured struct {
	Outcome Outcome            `json:"outcome"`
	Reason  string             `json:"reason,omitempty"`
	Seconds float64            `json:"seconds"`
	Count   int64              `json:"count"`
	Failed  int64              `json:"failed,omitempty"`
	Latency map[string]float64 `json:"latency,omitempty"` // in seconds: p50, p90, p99, max
}

// part is what one of several connections or workers has to say.
type part struct {
	count     int64
	failed    int64
	latencies []float64
	problem   error
}

// measure opens connections and counts what goes through them. What can't be connected to is told by the outcome.
func measure(wish Wish) Measured {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	addresses, err := addressesOf(ctx, wish.Host, wish.Family)
	if err != nil {
		return Measured{Outcome: Errored, Reason: err.Error()}
	}
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	var target netip.AddrPort
	for range max(1, wish.Streams) {
		var conn net.Conn
		found := tryEach(addresses, time.Now().Add(longest), func(address netip.Addr, until time.Time) verdict {
			made, found := connectTCP(netip.AddrPortFrom(address, uint16(wish.Port)), netip.AddrPort{}, until)
			conn = made
			return found
		})
		if conn == nil {
			return Measured{Outcome: found.outcome, Reason: found.reason}
		}
		conns, target = append(conns, conn), found.remote
	}
	work := map[byte]func(net.Conn, time.Time) part{
		streaming:  pour,
		requesting: func(conn net.Conn, end time.Time) part { return converseFor(conn, wish.Size, end) },
		connecting: func(conn net.Conn, end time.Time) part { return reconnect(conn, target, end) },
	}[wish.Kind]
	return together(conns, work, wish.Seconds)
}

// together has all connections work at the same time, and sums up.
func together(conns []net.Conn, work func(net.Conn, time.Time) part, lasting time.Duration) Measured {
	parts := make([]part, len(conns))
	began := time.Now()
	var group sync.WaitGroup
	for index, conn := range conns {
		group.Add(1)
		go func() {
			defer group.Done()
			parts[index] = work(conn, began.Add(lasting))
		}()
	}
	group.Wait()
	result := Measured{Outcome: Allowed, Seconds: time.Since(began).Seconds()}
	var latencies []float64
	for _, each := range parts {
		result.Count += each.count
		result.Failed += each.failed
		latencies = append(latencies, each.latencies...)
		if each.problem != nil && result.Reason == "" {
			result.Reason = each.problem.Error()
		}
		if each.problem != nil && each.failed == 0 {
			result.Outcome = Errored
		}
	}
	result.Latency = percentiles(latencies)
	return result
}

// pour sends as much as goes. The other side says how much has arrived, and only then it's over.
func pour(conn net.Conn, end time.Time) part {
	_ = conn.SetDeadline(end.Add(longest))
	if _, err := conn.Write([]byte{streaming}); err != nil {
		return part{problem: fmt.Errorf("sending: %w", err)}
	}
	data := make([]byte, chunk)
	for time.Now().Before(end) {
		if _, err := conn.Write(data); err != nil {
			return part{problem: fmt.Errorf("sending: %w", err)}
		}
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	arrived := make([]byte, 8)
	if _, err := io.ReadFull(conn, arrived); err != nil {
		return part{problem: fmt.Errorf("the other side doesn't say how much has arrived: %w", err)}
	}
	return part{count: int64(binary.BigEndian.Uint64(arrived))}
}

// converseFor sends a request when the last one has been answered.
func converseFor(conn net.Conn, size int, end time.Time) part {
	_ = conn.SetDeadline(end.Add(longest))
	head := binary.BigEndian.AppendUint32([]byte{requesting}, uint32(size))
	if _, err := conn.Write(head); err != nil {
		return part{problem: fmt.Errorf("sending: %w", err)}
	}
	result := part{}
	data := make([]byte, size)
	for began := time.Now(); began.Before(end); began = time.Now() {
		_, err := conn.Write(data)
		if err == nil {
			_, err = io.ReadFull(conn, data)
		}
		if err != nil {
			result.problem = fmt.Errorf("a request after %d others: %w", result.count, err)
			return result
		}
		result.count++
		result.latencies = append(result.latencies, time.Since(began).Seconds())
	}
	return result
}

// reconnect makes a connection, asks once, and drops it, again and again; the first one is there.
func reconnect(conn net.Conn, target netip.AddrPort, end time.Time) part {
	result := part{}
	row := 0
	for began := time.Now(); began.Before(end) && row < mostFailures; began = time.Now() {
		var err error
		if conn == nil {
			made, found := connectTCP(target, netip.AddrPort{}, began.Add(longest))
			if conn = made; conn == nil {
				err = fmt.Errorf("a connection after %d others: %w", result.count, found)
			}
		}
		if err == nil {
			err = askOnce(conn)
			_ = conn.Close()
			conn = nil
		}
		if err != nil {
			result.failed++
			row++
			if result.problem == nil {
				result.problem = err
			}
			continue
		}
		row = 0
		result.count++
		result.latencies = append(result.latencies, time.Since(began).Seconds())
	}
	return result
}

func askOnce(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(longest))
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // no TIME_WAIT: ports would run out
	}
	answer := []byte{connecting}
	if _, err := conn.Write(answer); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	return nil
}

// percentiles are by the nearest rank.
func percentiles(values []float64) map[string]float64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	rank := func(percent float64) float64 {
		return values[max(0, int(math.Ceil(float64(len(values))*percent/100))-1)]
	}
	return map[string]float64{"p50": rank(50), "p90": rank(90), "p99": rank(99), "max": values[len(values)-1]}
}

// listen answers measurements until the input ends; it says first on which port.
func listen(port int, input io.Reader, output io.Writer) error {
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("something listens on port %d already", port)
	}
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	if err := json.NewEncoder(output).Encode(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go reply(conn)
		}
	}()
	_, _ = io.Copy(io.Discard, input)
	return nil
}

// reply does what the first byte of a connection says.
func reply(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	switch first[0] {
	case streaming:
		swallow(conn)
	case requesting:
		echo(conn)
	case connecting:
		_, _ = conn.Write(first)
		_, _ = conn.Read(first) // the other side ends it
	}
}

func swallow(conn net.Conn) {
	data := make([]byte, chunk)
	arrived := uint64(0)
	for {
		count, err := conn.Read(data)
		arrived += uint64(count)
		if err != nil {
			break
		}
	}
	_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, arrived))
}

func echo(conn net.Conn) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	size := binary.BigEndian.Uint32(head)
	if size == 0 || size > 1<<20 {
		return
	}
	data := make([]byte, size)
	for {
		if _, err := io.ReadFull(conn, data); err != nil {
			return
		}
		if _, err := conn.Write(data); err != nil {
			return
		}
	}
}
