package main

import "time"

// Request is what stands on standard input: batches of targets, each seen from one source.
type Request struct {
	// Concurrency bounds how many targets of a source are looked at together; 0 means 64.
	Concurrency int      `json:"concurrency,omitempty"`
	Sources     []Source `json:"sources"`
	// Every is in seconds: then each target is tried so often until the input ends, and Sightings are printed instead of an Answer.
	Every float64 `json:"every,omitempty"`
}

// Source is where a batch is looked at from: this network namespace, or that of a container on this machine.
type Source struct {
	ID string `json:"id"`
	// Container is the ID that the container runtime gave; empty for here.
	Container string   `json:"container,omitempty"`
	Targets   []Target `json:"targets"`
}

// Target is one thing to try. Limit is in seconds.
type Target struct {
	ID     string  `json:"id"`
	Type   string  `json:"type"` // tcp | udp | sctp | http | dns
	Host   string  `json:"host,omitempty"`
	Port   int     `json:"port,omitempty"`
	Family string  `json:"family,omitempty"` // IPv4 | IPv6; empty: any
	Limit  float64 `json:"limit"`
	// Payload is sent over udp and sctp (default: "hostname"), and over tcp if it isn't empty.
	Payload string `json:"payload,omitempty"`
	// Size makes udp send a packet of so many bytes, with its headers, which must be echoed ("echo …", as agnhost netexec does), and tcp a
	// form of so many bytes (POST /echo). Whole: a packet of udp must not be cut on its way.
	Size  int  `json:"size,omitempty"`
	Whole bool `json:"whole,omitempty"`
	// ReadReply makes tcp wait for an answer or a banner; udp always does.
	ReadReply bool `json:"readReply,omitempty"`
	// Bind is the address and port to send from, 0.0.0.0 or [::] for any address and 0 for any port; not of http and dns.
	Bind string `json:"bind,omitempty"`
	// AskSource asks the server which address it saw: GET /clientip over tcp, "clientip" over udp and sctp, as agnhost netexec answers.
	AskSource bool      `json:"askSource,omitempty"`
	HTTP      *HTTPWish `json:"http,omitempty"`
	DNS       *DNSWish  `json:"dns,omitempty"`
}

// HTTPWish is a request to make. Only http and https URLs are tried, never through a proxy.
type HTTPWish struct {
	Method  string              `json:"method"`
	URL     string              `json:"url"`
	Headers map[string][]string `json:"headers,omitempty"`
	Body    string              `json:"body,omitempty"`
	// BodyBase64 stands in for Body where that is no UTF-8.
	BodyBase64 []byte `json:"bodyBase64,omitempty"`
	// Resolve maps "host:port" to an address, or to address:port.
	Resolve map[string]string `json:"resolve,omitempty"`
	// Redirects is how many are followed; 0: a redirect is the answer.
	Redirects int      `json:"redirects,omitempty"`
	MaxBody   int64    `json:"maxBody,omitempty"` // bytes kept; 0: 1 MiB
	Deny      []string `json:"deny,omitempty"`    // CIDRs that must not be connected to
	TLS       *TLSWish `json:"tls,omitempty"`
}

// TLSWish says how the server is trusted; CA, Cert and Key are PEM.
type TLSWish struct {
	CA         string `json:"ca,omitempty"`
	Insecure   bool   `json:"insecure,omitempty"`
	ServerName string `json:"serverName,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
}

// DNSWish is one question. Server is address or address:port; empty: the first of /etc/resolv.conf.
type DNSWish struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Server string `json:"server,omitempty"`
	// Transport is udp, tcp, or empty for udp and then tcp where the answer is truncated.
	Transport string `json:"transport,omitempty"`
	// Search makes names out of /etc/resolv.conf's search list and ndots; without it the name is taken to be whole.
	Search bool `json:"search,omitempty"`
}

// Sighting is a line of what is printed where targets are tried again and again: what came of one try, or why a source can't go on.
// At is the time when the try began, in seconds since the source did.
type Sighting struct {
	Source string  `json:"source"`
	At     float64 `json:"at"`
	Result *Result `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Answer is what is printed.
type Answer struct {
	Version string         `json:"version"`
	Sources []SourceAnswer `json:"sources"`
}

// SourceAnswer holds a source's results in the order of its targets, or says why it couldn't be looked from.
type SourceAnswer struct {
	ID        string   `json:"id"`
	Error     string   `json:"error,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Results   []Result `json:"results,omitempty"`
}

// Result is what came of a target. Failure is set where the network let it through and the server then didn't do its part.
type Result struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
	Failure string  `json:"failure,omitempty"`
	// Stage is how far a try came that ended without an answer, where that was further than connecting; http says it always.
	Stage  Stage  `json:"stage,omitempty"`
	Local  string `json:"local,omitempty"`  // source address and port, as this side has it
	Remote string `json:"remote,omitempty"` // address and port that were tried
	ICMP   *ICMP  `json:"icmp,omitempty"`
	MTU    int    `json:"mtu,omitempty"` // how much is passed on where a packet was too long to be
	// SeenSource is the address that the server saw, without its port.
	SeenSource string        `json:"seenSource,omitempty"`
	Reply      string        `json:"reply,omitempty"`
	Seconds    float64       `json:"seconds"`
	answered   time.Time     // when the answer was there, where that was before the end of the try
	HTTP       *HTTPResponse `json:"http,omitempty"`
	DNS        *DNSResponse  `json:"dns,omitempty"`
}

// ICMP is the error message that ended a try.
type ICMP struct {
	Type int    `json:"type"`
	Code int    `json:"code"`
	From string `json:"from"`
}

// HTTPResponse is the answer to an HTTPWish. A body that is no UTF-8 comes as base64.
type HTTPResponse struct {
	Status     int                 `json:"status"`
	Proto      string              `json:"proto"`
	URL        string              `json:"url"`
	Headers    map[string][]string `json:"headers"`
	Body       string              `json:"body,omitempty"`
	BodyBase64 string              `json:"bodyBase64,omitempty"`
	Truncated  bool                `json:"truncated,omitempty"`
	TLS        *TLSPeer            `json:"tls,omitempty"`
	Timing     Timing              `json:"timing"`
}

// Timing counts the seconds from the start until each point, as curl's --write-out does; after redirects that of the last request.
type Timing struct {
	Connect   float64 `json:"connect"`
	TLS       float64 `json:"tls,omitempty"`
	FirstByte float64 `json:"firstByte"`
	Total     float64 `json:"total"`
}

// Stage is a part of a request.
type Stage string

const (
	Resolving  Stage = "resolve" // the server of names said that there is no such name
	Securing   Stage = "tls"     // the TLS handshake
	Connecting Stage = "connect"
	Answering  Stage = "answer"
)

// TLSPeer is the server's certificate and what was agreed with it.
type TLSPeer struct {
	Version  string   `json:"version"`
	Subject  string   `json:"subject"`
	Issuer   string   `json:"issuer"`
	Names    []string `json:"names,omitempty"`
	NotAfter string   `json:"notAfter"`
}

// DNSResponse is the answer to a DNSWish. Name is the one that it is about, one of those that were Asked.
type DNSResponse struct {
	Server    string          `json:"server"`
	Transport string          `json:"transport"`
	Name      string          `json:"name"`
	Asked     []string        `json:"asked"`
	Rcode     string          `json:"rcode"`
	Flags     map[string]bool `json:"flags"`
	Answers   []DNSRecord     `json:"answers"`
	Authority []DNSRecord     `json:"authority,omitempty"`
}

// DNSRecord is one resource record.
type DNSRecord struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl"`
	Data string `json:"data"`
}
