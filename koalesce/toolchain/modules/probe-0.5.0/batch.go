package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	version            = "0.5.0"
	defaultConcurrency = 64
	// startUp is the time that a child is given beyond its targets' limits.
	startUp = 5 * time.Second
)

// answer looks at all targets of all sources, sources at the same time.
func answer(request Request) Answer {
	pids := findContainers(containersOf(request))
	answers := make([]SourceAnswer, len(request.Sources))
	var group sync.WaitGroup
	for index, source := range request.Sources {
		group.Add(1)
		go func() {
			defer group.Done()
			answers[index] = answerSource(source, pids[source.Container], request.Concurrency)
		}()
	}
	group.Wait()
	return Answer{Version: version, Sources: answers}
}

func containersOf(request Request) map[string]bool {
	ids := map[string]bool{}
	for _, source := range request.Sources {
		if source.Container != "" {
			ids[source.Container] = true
		}
	}
	return ids
}

func answerSource(source Source, pid, concurrency int) SourceAnswer {
	if source.Container == "" {
		return look(source, concurrency)
	}
	var err error
	result := SourceAnswer{}
	if pid == 0 {
		err = errNoContainer
	} else {
		result, err = delegate(source, pid, concurrency)
	}
	if err != nil {
		return SourceAnswer{ID: source.ID, Error: err.Error()}
	}
	return result
}

// delegate has a child of this program look from inside a container.
func delegate(source Source, pid, concurrency int) (SourceAnswer, error) {
	source.Container = ""
	input, err := json.Marshal(Request{Concurrency: concurrency, Sources: []Source{source}})
	if err != nil {
		return SourceAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience(source, concurrency))
	defer cancel()
	child := exec.CommandContext(ctx, "/proc/self/exe", "-enter", strconv.Itoa(pid))
	child.Stdin = bytes.NewReader(input)
	var output, errors bytes.Buffer
	child.Stdout, child.Stderr = &output, &errors
	if err := child.Run(); err != nil {
		return SourceAnswer{}, fmt.Errorf("in process %d: %w: %s", pid, err, strings.TrimSpace(errors.String()))
	}
	var answer Answer
	if err := json.Unmarshal(output.Bytes(), &answer); err != nil || len(answer.Sources) != 1 {
		return SourceAnswer{}, fmt.Errorf("in process %d: no answer: %.200q", pid, output.String())
	}
	return answer.Sources[0], nil
}

// patience is the longest time that a source's targets may take.
func patience(source Source, concurrency int) time.Duration {
	longest := 0.0
	for _, target := range source.Targets {
		longest = max(longest, target.Limit)
	}
	rounds := math.Ceil(float64(len(source.Targets)) / float64(width(concurrency)))
	return startUp + time.Duration(longest*rounds*float64(time.Second))
}

func width(concurrency int) int {
	if concurrency <= 0 {
		return defaultConcurrency
	}
	return concurrency
}

// look tries a source's targets from here.
func look(source Source, concurrency int) SourceAnswer {
	results := make([]Result, len(source.Targets))
	slots := make(chan struct{}, width(concurrency))
	var group sync.WaitGroup
	for index, target := range source.Targets {
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer group.Done()
			defer func() { <-slots }()
			results[index] = try(target)
		}()
	}
	group.Wait()
	var addresses []string
	for _, address := range ownAddresses() {
		addresses = append(addresses, address.String())
	}
	return SourceAnswer{ID: source.ID, Addresses: addresses, Results: results}
}

// try looks at one target within its limit.
func try(target Target) Result {
	started := time.Now()
	deadline := started.Add(time.Duration(target.Limit * float64(time.Second)))
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	probes := map[string]func(context.Context, Target, time.Time) Result{
		"tcp": probeTCP, "udp": probeUDP, "sctp": probeSCTP, "http": probeHTTP, "dns": probeDNS,
	}
	result := Result{Outcome: Errored, Reason: fmt.Sprintf("unknown type of target: %q", target.Type)}
	if probe, ok := probes[target.Type]; ok {
		result = probe(ctx, target, deadline)
	}
	result.ID = target.ID
	ended := result.answered
	if ended.IsZero() {
		ended = time.Now()
	}
	result.Seconds = math.Round(ended.Sub(started).Seconds()*1e6) / 1e6
	return result
}
