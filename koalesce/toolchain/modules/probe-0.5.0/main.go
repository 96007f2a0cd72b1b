// Command koalesce-probe looks at the wire: it tries TCP, UDP, SCTP, HTTP and DNS targets from this network namespace, or from that
// of containers on this machine, and says for each what the network did with it.
//
// Without arguments it reads a Request from standard input and prints an Answer, both JSON; of a Request with `every` it prints
// Sightings until the input ends. For people:
//
//	koalesce-probe [-container ID] [-limit 1.5s] [-source] [-payload TEXT | -bytes N [-whole]] tcp|udp|sctp HOST:PORT
//	koalesce-probe [-container ID] [-limit 5s] http URL
//	koalesce-probe [-container ID] [-limit 5s] [-transport udp|tcp] [-search] dns NAME [TYPE [SERVER]]
//	koalesce-probe [-container ID] listen PORT
//	koalesce-probe [-container ID] [-limit 5s] [-streams 1] [-size 1] stream|requests|connections HOST:PORT
//
// The last two belong together: the first answers, until its input ends, what the second measures for as long as the limit says.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "koalesce-probe:", err)
		os.Exit(1)
	}
}

func run(arguments []string, input io.Reader, output io.Writer) error {
	flags := flag.NewFlagSet("koalesce-probe", flag.ContinueOnError)
	pid := flags.Int("enter", 0, "look from the namespaces of this process")
	container := flags.String("container", "", "look from this container, by the runtime's ID")
	limit := flags.Duration("limit", 5*time.Second, "time limit")
	source := flags.Bool("source", false, "ask the server which address it saw")
	transport := flags.String("transport", "", "ask for a name over udp or tcp only")
	search := flags.Bool("search", false, "look for a name below the search list of /etc/resolv.conf")
	payload := flags.String("payload", "", "what to send")
	bytes := flags.Int("bytes", 0, "send a packet (udp) or a form (tcp) of so many bytes")
	whole := flags.Bool("whole", false, "with -bytes: the packet must not be cut on its way (udp)")
	streams := flags.Int("streams", 1, "connections at the same time, of a measurement")
	size := flags.Int("size", 1, "bytes of a request and of its answer, of a measurement")
	family := flags.String("family", "", "IPv4 or IPv6, of a measurement")
	shown := flags.Bool("version", false, "print the version")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	switch {
	case *shown:
		_, err := fmt.Fprintln(output, version)
		return err
	case *pid != 0:
		return enter(*pid, flags.Args())
	case flags.NArg() == 0:
		return serve(input, output)
	case flags.Arg(0) == "listen" || measures[flags.Arg(0)] != 0:
		if *container != "" {
			return enterContainer(*container, arguments)
		}
		wish := Wish{Seconds: *limit, Streams: *streams, Size: *size, Family: *family}
		return listenOrMeasure(flags.Args(), wish, input, output)
	}
	target, err := targetOf(flags.Args())
	if err != nil {
		return err
	}
	target.Limit, target.AskSource, target.Payload = limit.Seconds(), *source, *payload
	target.Size, target.Whole = *bytes, *whole
	if target.DNS != nil {
		target.DNS.Transport, target.DNS.Search = *transport, *search
	}
	return show(Source{Container: *container, Targets: []Target{target}}, output)
}

// measures are the kinds of measurements by their names.
var measures = map[string]byte{"stream": streaming, "requests": requesting, "connections": connecting}

// listenOrMeasure is one side of a measurement or the other.
func listenOrMeasure(words []string, wish Wish, input io.Reader, output io.Writer) error {
	if len(words) != 2 {
		return errors.New("say listen PORT, or stream|requests|connections HOST:PORT")
	}
	host, portText, err := "", words[1], error(nil)
	if words[0] != "listen" {
		if host, portText, err = net.SplitHostPort(words[1]); err != nil {
			return err
		}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return err
	}
	if words[0] == "listen" {
		return listen(int(port), input, output)
	}
	if wish.Size < 1 || wish.Size > 1<<20 {
		return errors.New("size is 1 to 1048576")
	}
	wish.Kind, wish.Host, wish.Port = measures[words[0]], host, int(port)
	return json.NewEncoder(output).Encode(measure(wish))
}

// enterContainer begins anew inside a container, with the same arguments but for `-container ID`.
func enterContainer(id string, arguments []string) error {
	pid := findContainers(map[string]bool{id: true})[id]
	if pid == 0 {
		return errNoContainer
	}
	var rest []string
	for index := 0; index < len(arguments); index++ {
		if arguments[index] == "-container" || arguments[index] == "--container" {
			index++
			continue
		}
		rest = append(rest, arguments[index])
	}
	return enter(pid, rest)
}

// serve answers one request.
func serve(input io.Reader, output io.Writer) error {
	var request Request
	decoder := json.NewDecoder(input)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if request.Every > 0 {
		return stream(request, io.MultiReader(decoder.Buffered(), input), output)
	}
	return json.NewEncoder(output).Encode(answer(request))
}

// show prints the result of one target for people.
func show(source Source, output io.Writer) error {
	found := answer(Request{Sources: []Source{source}}).Sources[0]
	if found.Error != "" {
		return errors.New(found.Error)
	}
	encoder := json.NewEncoder(output)
	encoder.SetIndent("", "  ")
	return encoder.Encode(found.Results[0])
}

func targetOf(words []string) (Target, error) {
	if len(words) < 2 {
		return Target{}, errors.New("say tcp|udp|sctp HOST:PORT, http URL, dns NAME, listen PORT or stream|requests|connections HOST:PORT")
	}
	switch words[0] {
	case "tcp", "udp", "sctp":
		host, portText, err := net.SplitHostPort(words[1])
		if err != nil {
			return Target{}, err
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		return Target{Type: words[0], Host: host, Port: int(port)}, err
	case "http":
		return Target{Type: "http", HTTP: &HTTPWish{Method: "GET", URL: words[1]}}, nil
	case "dns":
		wish := &DNSWish{Name: words[1], Type: "A"}
		if len(words) > 2 {
			wish.Type = words[2]
		}
		if len(words) > 3 {
			wish.Server = words[3]
		}
		return Target{Type: "dns", DNS: wish}, nil
	}
	return Target{}, fmt.Errorf("%s: not one of tcp, udp, sctp, http, dns", words[0])
}
