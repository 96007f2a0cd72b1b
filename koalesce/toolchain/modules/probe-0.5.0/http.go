package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const defaultMaxBody = 1 << 20

// probeHTTP makes one request; its connections are made like those of probeTCP, so that their outcome is known.
// The deadline is kept by the dialer and its connections, whose errors say more than that of a context.
func probeHTTP(_ context.Context, target Target, deadline time.Time) Result {
	ctx, cancel := context.WithDeadline(context.Background(), deadline.Add(time.Second))
	defer cancel()
	wish := target.HTTP
	request, err := buildRequest(ctx, wish)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	security, err := wish.TLS.config()
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	dialer := &dialer{wish: wish, family: target.Family, deadline: deadline, started: time.Now()}
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), dialer.trace()))
	client := &http.Client{
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.dial, TLSClientConfig: security, DisableKeepAlives: true, DisableCompression: true,
		},
		CheckRedirect: limitRedirects(wish.Redirects),
	}
	response, err := client.Do(request)
	result := dialer.last.result()
	if err != nil {
		explain(err, dialer, wish, &result)
		return result
	}
	defer func() { _ = response.Body.Close() }()
	result.Outcome = Allowed
	result.HTTP = read(response, wish, &result)
	result.HTTP.Timing = dialer.timing
	result.HTTP.Timing.Total = dialer.since()
	return result
}

func buildRequest(ctx context.Context, wish *HTTPWish) (*http.Request, error) {
	if wish == nil {
		return nil, errors.New("an http target needs http")
	}
	parsed, err := url.Parse(wish.URL)
	if err != nil {
		return nil, err
	}
	if (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" {
		return nil, fmt.Errorf("%s: only http:// and https:// URLs with a host are tried", wish.URL)
	}
	body := wish.BodyBase64
	if wish.Body != "" {
		body = []byte(wish.Body)
	}
	request, err := http.NewRequestWithContext(ctx, wish.Method, wish.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		request.Body = http.NoBody
	}
	for name, values := range wish.Headers {
		if strings.EqualFold(name, "Host") && len(values) > 0 {
			request.Host = values[0]
			continue
		}
		for _, value := range values {
			request.Header.Add(name, value)
		}
	}
	return request, nil
}

func limitRedirects(limit int) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, before []*http.Request) error {
		switch {
		case limit == 0:
			return http.ErrUseLastResponse
		case len(before) > limit:
			return fmt.Errorf("more than %d redirects, the last to %s", limit, next.URL)
		case next.URL.Scheme != "http" && next.URL.Scheme != "https":
			return fmt.Errorf("redirected to %s: only http and https are followed", next.URL)
		}
		return nil
	}
}

func (w *TLSWish) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if w == nil {
		return config, nil
	}
	config.InsecureSkipVerify = w.Insecure
	config.ServerName = w.ServerName
	if w.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(w.CA)) {
			return nil, errors.New("tls.ca holds no certificate")
		}
	}
	if w.Cert != "" || w.Key != "" {
		pair, err := tls.X509KeyPair([]byte(w.Cert), []byte(w.Key))
		if err != nil {
			return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// dialer makes the connections of one request and remembers how the last one went.
type dialer struct {
	wish     *HTTPWish
	family   string
	deadline time.Time
	started  time.Time
	last     verdict
	stage    Stage
	timing   Timing
}

// trace notes when the parts of a request were done, and which of them began last.
func (d *dialer) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		TLSHandshakeStart: func() { d.stage = Securing },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				d.stage, d.timing.TLS = Answering, d.since()
			}
		},
		GotFirstResponseByte: func() { d.timing.FirstByte = d.since() },
	}
}

func (d *dialer) since() float64 {
	return math.Round(time.Since(d.started).Seconds()*1e6) / 1e6
}

func (d *dialer) dial(ctx context.Context, _, hostPort string) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, d.deadline)
	defer cancel()
	d.stage, d.timing = Connecting, Timing{}
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, d.impossible(err)
	}
	if replaced, ok := d.wish.Resolve[hostPort]; ok {
		host = replaced
		if pair, err := netip.ParseAddrPort(replaced); err == nil {
			host, portText = pair.Addr().String(), strconv.Itoa(int(pair.Port()))
		}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, d.impossible(err)
	}
	addresses, err := addressesOf(ctx, host, d.family)
	if err != nil {
		return nil, d.impossible(err)
	}
	var conn net.Conn
	d.last = tryEach(addresses, d.deadline, func(address netip.Addr, until time.Time) verdict {
		if by := d.denied(address); by != "" {
			return verdict{outcome: Errored, reason: fmt.Sprintf("%s is in %s, which is not to be reached from here", address, by)}
		}
		made, found := connectTCP(netip.AddrPortFrom(address, uint16(port)), netip.AddrPort{}, until)
		conn = made
		return found
	})
	if conn == nil {
		return nil, d.last
	}
	_ = conn.SetDeadline(d.deadline)
	d.stage, d.timing.Connect = Answering, d.since()
	return conn, nil
}

func (d *dialer) impossible(err error) error {
	var failure *unresolved
	if errors.As(err, &failure) && failure.isMissing {
		d.stage = Resolving
	}
	d.last = verdict{outcome: Errored, reason: err.Error()}
	return d.last
}

func (d *dialer) denied(address netip.Addr) string {
	for _, text := range d.wish.Deny {
		if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Contains(address) {
			return text
		}
	}
	return ""
}

// explain judges a request that got no answer.
func explain(err error, dialer *dialer, wish *HTTPWish, result *Result) {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	switch {
	case dialer.last.outcome == "": // nothing was dialed
		result.Outcome, result.Reason = Errored, err.Error()
	case dialer.last.outcome == Allowed:
		afterConnect(err, wish.Method+" "+wish.URL, result)
		if isAlert(err) {
			dialer.stage = Securing
		}
	}
	result.Stage = dialer.stage
}

// isAlert says whether TLS itself refused: with TLS 1.3 a server that wants another client certificate does so after the handshake.
func isAlert(err error) bool {
	var failure *net.OpError
	return errors.As(err, &failure) && (failure.Op == "remote error" || failure.Op == "local error")
}

func read(response *http.Response, wish *HTTPWish, result *Result) *HTTPResponse {
	limit := wish.MaxBody
	if limit <= 0 {
		limit = defaultMaxBody
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		afterConnect(err, "the rest of the body", result)
	}
	answer := &HTTPResponse{
		Status: response.StatusCode, Proto: response.Proto, URL: response.Request.URL.String(), Headers: response.Header,
	}
	if int64(len(body)) > limit {
		body, answer.Truncated = body[:limit], true
	}
	if utf8.Valid(body) || (answer.Truncated && utf8.ValidString(strings.ToValidUTF8(string(body[:max(0, len(body)-3)]), "\xff"))) {
		answer.Body = strings.ToValidUTF8(string(body), "")
	} else {
		answer.BodyBase64 = base64.StdEncoding.EncodeToString(body)
	}
	if state := response.TLS; state != nil && len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		answer.TLS = &TLSPeer{
			Version: tls.VersionName(state.Version), Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(),
			Names: leaf.DNSNames, NotAfter: leaf.NotAfter.UTC().Format(time.RFC3339),
		}
	}
	return answer
}
