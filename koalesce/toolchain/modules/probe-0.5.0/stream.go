package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stream looks at all targets again and again, each of them every so often, and prints what it saw as lines of JSON. It ends
// when its input does: nothing is tried from then on, and what is under way is waited for.
func stream(request Request, input io.Reader, output io.Writer) error {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, input)
		close(ended)
	}()
	pids := findContainers(containersOf(request))
	lines := &lineWriter{output: output}
	var group sync.WaitGroup
	for _, source := range request.Sources {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := streamSource(source, pids[source.Container], request.Every, lines, ended); err != nil {
				lines.write(Sighting{Source: source.ID, Error: err.Error()})
			}
		}()
	}
	group.Wait()
	return lines.err
}

func streamSource(source Source, pid int, every float64, lines *lineWriter, ended <-chan struct{}) error {
	if source.Container == "" {
		beat(source, time.Duration(every*float64(time.Second)), lines, ended)
		return nil
	}
	if pid == 0 {
		return errNoContainer
	}
	return streamInside(source, pid, every, lines, ended)
}

// streamInside has a child of this program look from inside a container, and passes its lines on.
func streamInside(source Source, pid int, every float64, lines *lineWriter, ended <-chan struct{}) error {
	source.Container = ""
	request, err := json.Marshal(Request{Every: every, Sources: []Source{source}})
	if err != nil {
		return err
	}
	child := exec.Command("/proc/self/exe", "-enter", strconv.Itoa(pid))
	var errors bytes.Buffer
	child.Stderr = &errors
	toChild, err := child.StdinPipe()
	if err != nil {
		return err
	}
	fromChild, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("in process %d: %w", pid, err)
	}
	go func() {
		_, _ = toChild.Write(request)
		<-ended
		toChild.Close()
	}()
	reader := bufio.NewReader(fromChild)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			break
		}
		lines.pass(line)
	}
	if err := child.Wait(); err != nil {
		return fmt.Errorf("in process %d: %w: %s", pid, err, strings.TrimSpace(errors.String()))
	}
	return nil
}

// beat tries each target at its time, whether the tries before have ended or not: one that hangs hides nothing. Targets take turns.
func beat(source Source, every time.Duration, lines *lineWriter, ended <-chan struct{}) {
	began := time.Now()
	var group sync.WaitGroup
	for index, target := range source.Targets {
		group.Add(1)
		go func() {
			defer group.Done()
			select {
			case <-ended:
				return
			case <-time.After(every * time.Duration(index) / time.Duration(len(source.Targets))):
			}
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for {
				group.Add(1)
				go func() {
					defer group.Done()
					at := time.Since(began).Seconds()
					result := try(target)
					lines.write(Sighting{Source: source.ID, At: at, Result: &result})
				}()
				select {
				case <-ended:
					return
				case <-ticker.C:
				}
			}
		}()
	}
	group.Wait()
}

// lineWriter writes whole lines, from several goroutines.
type lineWriter struct {
	lock   sync.Mutex
	output io.Writer
	err    error
}

func (w *lineWriter) write(sighting Sighting) {
	line, err := json.Marshal(sighting)
	if err != nil {
		line, _ = json.Marshal(Sighting{Source: sighting.Source, Error: err.Error()})
	}
	w.pass(append(line, '\n'))
}

func (w *lineWriter) pass(line []byte) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.err == nil {
		_, w.err = w.output.Write(line)
	}
}
