package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

const resolvConfPath = "/etc/resolv.conf"

// resolvConf is what a resolver of the C library reads (resolv.conf(5)).
type resolvConf struct {
	servers []string
	search  []string
	ndots   int
}

func readResolvConf(path string) (resolvConf, error) {
	file, err := os.Open(path)
	if err != nil {
		return resolvConf{}, err
	}
	defer func() { _ = file.Close() }()
	return parseResolvConf(file), nil
}

func parseResolvConf(text io.Reader) resolvConf {
	config := resolvConf{ndots: 1}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			config.servers = append(config.servers, words[1])
		case "domain", "search": // the last of them counts
			config.search = words[1:]
		case "options":
			for _, option := range words[1:] {
				if number, ok := strings.CutPrefix(option, "ndots:"); ok {
					if dots, err := strconv.Atoi(number); err == nil && dots >= 0 {
						config.ndots = min(dots, 15)
					}
				}
			}
		}
	}
	return config
}

func (c resolvConf) server() string {
	if len(c.servers) == 0 {
		return ""
	}
	return c.servers[0]
}

// candidates are the names that a resolver asks for, in its order: one with a dot at its end stands for itself, one with
// fewer dots than ndots is first looked for below the search list.
func (c resolvConf) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var below []string
	for _, domain := range c.search {
		if domain = strings.Trim(domain, "."); domain != "" {
			below = append(below, name+"."+domain+".")
		}
	}
	if strings.Count(name, ".") >= c.ndots {
		return append([]string{withDot(name)}, below...)
	}
	return append(below, withDot(name))
}

func withDot(name string) string {
	if strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}
