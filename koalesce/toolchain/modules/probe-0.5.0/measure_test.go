package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// answering starts what answers measurements, and gives its port.
func answering(t *testing.T) int {
	input, end := io.Pipe()
	lines, output := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- listen(0, input, output) }()
	t.Cleanup(func() {
		_ = end.Close()
		if err := <-ended; err != nil {
			t.Errorf("got %v", err)
		}
	})
	line, err := bufio.NewReader(lines).ReadBytes('\n')
	var said struct{ Port int }
	if err != nil || json.Unmarshal(line, &said) != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	return said.Port
}

func TestMeasures(t *testing.T) {
	port := answering(t)
	for _, kind := range []byte{streaming, requesting, connecting} {
		wish := Wish{Kind: kind, Host: "127.0.0.1", Port: port, Seconds: 100 * time.Millisecond, Streams: 2, Size: 32}

		found := measure(wish)

		if found.Outcome != Allowed || found.Count < 1 || found.Failed != 0 || found.Seconds < 0.1 {
			t.Errorf("%c: got %+v", kind, found)
		}
		if (kind == streaming) != (found.Latency == nil) {
			t.Errorf("%c: got the latencies %v", kind, found.Latency)
		}
	}
}

func TestWhatCannotBeConnectedToIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()

	found := measure(Wish{Kind: streaming, Host: "127.0.0.1", Port: port, Seconds: time.Second, Streams: 1})

	if found.Outcome != Refused {
		t.Errorf("got %+v", found)
	}
}

func TestASideThatSaysNothingIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port

	for _, kind := range []byte{streaming, requesting} {
		found := measure(Wish{Kind: kind, Host: "127.0.0.1", Port: port, Seconds: time.Second, Streams: 1, Size: 1})
		if found.Outcome != Errored || found.Reason == "" {
			t.Errorf("%c: got %+v", kind, found)
		}
	}
	found := measure(Wish{Kind: connecting, Host: "127.0.0.1", Port: port, Seconds: time.Minute, Streams: 1})
	if found.Count != 0 || found.Failed != mostFailures || found.Reason == "" {
		t.Errorf("got %+v", found)
	}
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	port := answering(t)

	err := listen(port, strings.NewReader(""), io.Discard)

	if err == nil || !strings.Contains(err.Error(), "listens on port") {
		t.Errorf("got %v", err)
	}
}

func TestPercentilesAreByTheNearestRank(t *testing.T) {
	values := make([]float64, 100)
	for index := range values {
		values[index] = float64(100 - index)
	}

	found := percentiles(values)

	if found["p50"] != 50 || found["p90"] != 90 || found["p99"] != 99 || found["max"] != 100 {
		t.Errorf("got %v", found)
	}
}
