package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Numbers of RFC 1035, RFC 3596 and RFC 2782.
var (
	recordTypes = map[string]uint16{
		"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
	}
	responseCodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}
)

const (
	queryID      = 0x6b6f
	recursion    = 0x0100
	isResponse   = 0x8000
	isTruncated  = 0x0200
	classIN      = 1
	headerLength = 12
)

var errShort = errors.New("the DNS answer is cut off or malformed")

// probeDNS asks one question, over UDP, and over TCP where the answer is truncated or the wish says so.
func probeDNS(_ context.Context, target Target, deadline time.Time) Result {
	wish := target.DNS
	if wish == nil {
		return Result{Outcome: Errored, Reason: "a dns target needs dns"}
	}
	query, err := buildQuery(wish)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	server, err := serverOf(wish)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	var answer []byte
	var found verdict
	if !wish.TCP {
		answer, found = exchangeUDP(server, query, deadline)
	}
	if wish.TCP || (len(answer) > 3 && binary.BigEndian.Uint16(answer[2:])&isTruncated != 0) {
		answer, found = exchangeTCP(server, query, deadline)
	}
	result := found.result()
	if found.outcome != Allowed {
		return result
	}
	parsed, err := parseAnswer(answer)
	if err != nil {
		result.Failure = err.Error()
		return result
	}
	parsed.Server = server.String()
	result.DNS = parsed
	return result
}

func serverOf(wish *DNSWish) (netip.AddrPort, error) {
	text := wish.Server
	if text == "" {
		file, err := os.Open("/etc/resolv.conf")
		if err != nil {
			return netip.AddrPort{}, err
		}
		defer func() { _ = file.Close() }()
		if text = firstNameserver(file); text == "" {
			return netip.AddrPort{}, errors.New("/etc/resolv.conf names no server")
		}
	}
	if pair, err := netip.ParseAddrPort(text); err == nil {
		return pair, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a server", text)
	}
	return netip.AddrPortFrom(address, 53), nil
}

func firstNameserver(config io.Reader) string {
	lines := bufio.NewScanner(config)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "nameserver" {
			return words[1]
		}
	}
	return ""
}

func buildQuery(wish *DNSWish) ([]byte, error) {
	kind, ok := recordTypes[strings.ToUpper(wish.Type)]
	if !ok {
		return nil, fmt.Errorf("unknown record type %q", wish.Type)
	}
	query := make([]byte, headerLength, 512)
	binary.BigEndian.PutUint16(query, queryID)
	binary.BigEndian.PutUint16(query[2:], recursion)
	binary.BigEndian.PutUint16(query[4:], 1)
	if name := strings.TrimSuffix(wish.Name, "."); name != "" {
		for _, label := range strings.Split(name, ".") {
			if label == "" || len(label) > 63 {
				return nil, fmt.Errorf("%q is no domain name", wish.Name)
			}
			query = append(append(query, byte(len(label))), label...)
		}
	}
	query = append(query, 0)
	query = binary.BigEndian.AppendUint16(query, kind)
	return binary.BigEndian.AppendUint16(query, classIN), nil
}

func exchangeTCP(server netip.AddrPort, query []byte, deadline time.Time) ([]byte, verdict) {
	conn, found := connectTCP(server, deadline)
	if conn == nil {
		return nil, found
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(deadline)
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	length := make([]byte, 2)
	if err == nil {
		_, err = io.ReadFull(conn, length)
	}
	answer := make([]byte, binary.BigEndian.Uint16(length))
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		result := found.result()
		afterConnect(err, "the DNS question", &result)
		found.outcome, found.reason = result.Outcome, result.Reason+result.Failure
	}
	return answer, found
}

func parseAnswer(message []byte) (*DNSResponse, error) {
	if len(message) < headerLength || binary.BigEndian.Uint16(message[2:])&isResponse == 0 {
		return nil, errShort
	}
	if binary.BigEndian.Uint16(message) != queryID {
		return nil, errors.New("the DNS answer is to another question")
	}
	response := &DNSResponse{Rcode: rcode(message[3] & 0xf), Answers: []DNSAnswer{}}
	offset := headerLength
	for range binary.BigEndian.Uint16(message[4:]) {
		_, next, err := readName(message, offset)
		if err != nil {
			return nil, err
		}
		offset = next + 4
	}
	for range binary.BigEndian.Uint16(message[6:]) {
		record, next, err := readRecord(message, offset)
		if err != nil {
			return nil, err
		}
		response.Answers = append(response.Answers, record)
		offset = next
	}
	return response, nil
}

func rcode(code byte) string {
	if int(code) < len(responseCodes) {
		return responseCodes[code]
	}
	return fmt.Sprintf("RCODE%d", code)
}

func typeName(kind uint16) string {
	for name, number := range recordTypes {
		if number == kind {
			return name
		}
	}
	return fmt.Sprintf("TYPE%d", kind)
}

func readRecord(message []byte, offset int) (DNSAnswer, int, error) {
	name, offset, err := readName(message, offset)
	if err != nil || offset+10 > len(message) {
		return DNSAnswer{}, 0, errShort
	}
	kind := binary.BigEndian.Uint16(message[offset:])
	ttl := binary.BigEndian.Uint32(message[offset+4:])
	start := offset + 10
	end := start + int(binary.BigEndian.Uint16(message[offset+8:]))
	if end > len(message) {
		return DNSAnswer{}, 0, errShort
	}
	data, err := readData(message, kind, start, end)
	return DNSAnswer{Name: name, Type: typeName(kind), TTL: ttl, Data: data}, end, err
}

// readData writes a record's data as a zone file does.
func readData(message []byte, kind uint16, start, end int) (string, error) {
	data := message[start:end]
	switch typeName(kind) {
	case "A", "AAAA":
		if address, ok := netip.AddrFromSlice(data); ok {
			return address.String(), nil
		}
		return "", errShort
	case "NS", "CNAME", "PTR":
		name, _, err := readName(message, start)
		return name, err
	case "MX":
		return readNumbered(message, start, end, 1)
	case "SRV":
		return readNumbered(message, start, end, 3)
	case "SOA":
		return readAuthority(message, start, end)
	case "TXT":
		return readText(data)
	}
	return fmt.Sprintf("%x", data), nil
}

// readNumbered reads 16-bit numbers followed by a name: "10 60 5060 sip.example.com.".
func readNumbered(message []byte, start, end, count int) (string, error) {
	if start+2*count >= end {
		return "", errShort
	}
	words := make([]string, 0, count+1)
	for index := range count {
		words = append(words, fmt.Sprint(binary.BigEndian.Uint16(message[start+2*index:])))
	}
	name, _, err := readName(message, start+2*count)
	return strings.Join(append(words, name), " "), err
}

func readAuthority(message []byte, start, end int) (string, error) {
	primary, next, err := readName(message, start)
	if err != nil {
		return "", err
	}
	mailbox, next, err := readName(message, next)
	if err != nil || next+20 > end {
		return "", errShort
	}
	words := []string{primary, mailbox}
	for index := range 5 {
		words = append(words, fmt.Sprint(binary.BigEndian.Uint32(message[next+4*index:])))
	}
	return strings.Join(words, " "), nil
}

func readText(data []byte) (string, error) {
	var text strings.Builder
	for len(data) > 0 {
		length := int(data[0])
		if length >= len(data) {
			return "", errShort
		}
		text.Write(data[1 : 1+length])
		data = data[1+length:]
	}
	return strings.ToValidUTF8(text.String(), "\uFFFD"), nil
}

// readName reads a possibly compressed name and returns the offset behind it.
func readName(message []byte, offset int) (string, int, error) {
	var labels []string
	behind := -1
	for jumps := 0; jumps < 64; {
		if offset >= len(message) {
			return "", 0, errShort
		}
		length := int(message[offset])
		switch {
		case length == 0:
			if behind < 0 {
				behind = offset + 1
			}
			return strings.Join(labels, ".") + ".", behind, nil
		case length >= 0xc0:
			if offset+1 >= len(message) {
				return "", 0, errShort
			}
			if behind < 0 {
				behind = offset + 2
			}
			offset = (length&0x3f)<<8 | int(message[offset+1])
			jumps++
		default:
			if offset+1+length > len(message) || len(labels) > 127 {
				return "", 0, errShort
			}
			labels = append(labels, string(message[offset+1:offset+1+length]))
			offset += 1 + length
		}
	}
	return "", 0, errShort
}
