package main

import (
	"encoding/hex"
	"reflect"
	"testing"
)

func TestParsesRecordsWithCompressedNames(t *testing.T) {
	message, err := hex.DecodeString("6b6f8180000100020000000003777777076578616d706c6503636f6d0000010001" +
		"c00c000500010000003c000603776562c010" + "c02d000100010000003c00040a600001")
	if err != nil {
		t.Fatal(err)
	}

	found, err := parseAnswer(message)

	want := []DNSAnswer{
		{Name: "www.example.com.", Type: "CNAME", TTL: 60, Data: "web.example.com."},
		{Name: "web.example.com.", Type: "A", TTL: 60, Data: "10.96.0.1"},
	}
	if err != nil || found.Rcode != "NOERROR" || !reflect.DeepEqual(found.Answers, want) {
		t.Fatalf("got %+v, %v", found, err)
	}
}

func TestRefusesCutOffAnswersAndPointerLoops(t *testing.T) {
	loop, _ := hex.DecodeString("6b6f81800001000000000000" + "c00c" + "00010001")
	for _, message := range [][]byte{nil, {1, 2, 3}, loop, loop[:13]} {
		if found, err := parseAnswer(message); err == nil {
			t.Errorf("%x: got %+v, expected an error", message, found)
		}
	}
}

func TestQueryRoundTrip(t *testing.T) {
	query, err := buildQuery(&DNSWish{Name: "web.ns.svc.cluster.local.", Type: "srv"})
	if err != nil {
		t.Fatal(err)
	}
	name, next, err := readName(query, headerLength)
	if name != "web.ns.svc.cluster.local." || next != len(query)-4 || err != nil {
		t.Fatalf("got %q at %d, %v", name, next, err)
	}
	for _, wish := range []DNSWish{{Name: "a..b", Type: "A"}, {Name: "a", Type: "NOPE"}} {
		if _, err := buildQuery(&wish); err == nil {
			t.Errorf("%+v: expected an error", wish)
		}
	}
}
