package main

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(url string, wish HTTPWish) Result {
	wish.Method, wish.URL = "GET", url
	return try(Target{Type: "http", Limit: 5, HTTP: &wish})
}

func TestTLSIsVerifiedUnlessToldNotTo(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))

	unknown := get(server.URL, HTTPWish{})
	if unknown.Outcome != Allowed || unknown.HTTP != nil || !strings.Contains(unknown.Failure, "certificate") {
		t.Errorf("unknown CA: got %+v", unknown)
	}
	for _, security := range []TLSWish{{Insecure: true}, {CA: ca}, {CA: ca, ServerName: "example.com"}} {
		if found := get(server.URL, HTTPWish{TLS: &security}); found.HTTP == nil || found.HTTP.Body != "ok" || found.HTTP.TLS == nil {
			t.Errorf("%+v: got %+v", security, found)
		}
	}
	if found := get(server.URL, HTTPWish{TLS: &TLSWish{CA: ca, ServerName: "other.invalid"}}); found.HTTP != nil {
		t.Errorf("a wrong name was accepted: %+v", found)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("é", 1000)))
	}))
	defer server.Close()

	found := get(server.URL, HTTPWish{MaxBody: 11})

	if found.HTTP == nil || found.HTTP.Body != "ééééé" || !found.HTTP.Truncated {
		t.Errorf("got %+v", found.HTTP)
	}
}

func TestBinaryBodiesComeAsBase64(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0xfe}) }))
	defer server.Close()

	if found := get(server.URL, HTTPWish{}); found.HTTP == nil || found.HTTP.BodyBase64 != "//4=" {
		t.Errorf("got %+v", found.HTTP)
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("/again", http.StatusFound))
	defer server.Close()

	if found := get(server.URL, HTTPWish{}); found.HTTP == nil || found.HTTP.Status != 302 {
		t.Errorf("got %+v", found)
	}
	if found := get(server.URL, HTTPWish{Redirects: 2}); found.HTTP != nil || !strings.Contains(found.Failure, "2 redirects") {
		t.Errorf("got %+v", found)
	}
}

func TestOnlyHTTPIsTried(t *testing.T) {
	for _, url := range []string{"file:///etc/passwd", "ftp://127.0.0.1/", "http:///nohost", "::"} {
		if found := get(url, HTTPWish{}); found.Outcome != Errored {
			t.Errorf("%s: got %+v", url, found)
		}
	}
}

func TestAServerThatClosesWithoutAnAnswer(t *testing.T) {
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
			_, _ = conn.Read(make([]byte, 4096))
			_ = conn.Close()
		}
	}()

	found := get("http://"+listener.Addr().String()+"/", HTTPWish{})

	if found.Outcome != Allowed || found.HTTP != nil || !strings.Contains(found.Failure, "without an answer") {
		t.Errorf("got %+v", found)
	}
}

func TestASilentServerIsDropped(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()

	url := "http://" + listener.Addr().String() + "/"
	found := try(Target{Type: "http", Limit: 0.1, HTTP: &HTTPWish{Method: "GET", URL: url}})

	if found.Outcome != Dropped || found.Reason != "connected, but no answer came to GET "+url || found.Seconds > 0.9 {
		t.Errorf("got %+v", found)
	}
}

func TestHowFarARequestCame(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer secure.Close()
	strict := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	strict.StartTLS()
	defer strict.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer plain.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, each := range []struct {
		url  string
		wish HTTPWish
		want Stage
	}{
		{secure.URL, HTTPWish{}, Securing},
		{strict.URL, HTTPWish{TLS: &TLSWish{Insecure: true}}, Securing},
		{strings.Replace(plain.URL, "http:", "https:", 1), HTTPWish{}, Securing},
		{plain.URL, HTTPWish{}, Answering},
		{closed.URL, HTTPWish{}, Connecting},
	} {
		if found := get(each.url, each.wish); found.HTTP != nil || found.Stage != each.want {
			t.Errorf("%s: got %q, expected %q: %+v", each.url, found.Stage, each.want, found)
		}
	}
}

func TestTimesAreInOrder(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	defer server.Close()

	found := get(server.URL, HTTPWish{TLS: &TLSWish{Insecure: true}})

	if found.HTTP == nil || found.Stage != "" {
		t.Fatalf("got %+v", found)
	}
	times := found.HTTP.Timing
	if times.Connect <= 0 || times.TLS < times.Connect || times.FirstByte < times.TLS || times.Total < times.FirstByte {
		t.Errorf("got %+v", times)
	}
}

func TestBinaryBodiesAreSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer server.Close()

	found := try(Target{Type: "http", Limit: 5, HTTP: &HTTPWish{Method: "PUT", URL: server.URL, BodyBase64: []byte{0xff, 0}}})

	if found.HTTP == nil || found.HTTP.BodyBase64 != "/wA=" {
		t.Errorf("got %+v", found.HTTP)
	}
}
