package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"canopy/internal/tlsconf"
)

// server is a process that was started to be measured, on an empty directory
// and on ports of its own.
type server struct {
	name     string
	command  []string
	dir      string
	endpoint string
	peer     string
	tls      *tls.Config // of its clients; nil: plain
	files    tlsconf.Files
	web      *http.Client
	process  *exec.Cmd
	output   bytes.Buffer // of the process; read once it has ended
	ended    chan error
}

// newServer fills in a NAME=COMMAND, of a server on these URLs.
func newServer(line, client, peer string, secure bool) (*server, error) {
	name, command, found := strings.Cut(line, "=")
	if !found || name == "" || strings.TrimSpace(command) == "" {
		return nil, fmt.Errorf("--server %q is not of the form NAME=COMMAND", line)
	}
	dir, err := os.MkdirTemp("", "canopy-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, dir: dir, endpoint: client, peer: peer, web: http.DefaultClient}
	if secure {
		if s.files, s.tls, err = certify(dir); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		s.endpoint = strings.Replace(client, "http://", "https://", 1)
		s.web = &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls}}
	}
	s.fill(strings.NewReplacer("{dir}", dir, "{client}", s.endpoint, "{peer}", peer, "{cert}", s.files.Cert.Name, "{key}", s.files.Key.Name, "{name}", "m1", "{cluster}", "m1="+peer), command)
	return s, nil
}

func (s *server) fill(in *strings.Replacer, command string) {
	s.command = s.command[:0]
	for word := range strings.FieldsSeq(command) {
		s.command = append(s.command, in.Replace(word))
	}
}

// freeURLs gives URLs with ports that are free, all different.
func freeURLs(n int) (urls []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // not before all are known
		urls = append(urls, "http://"+l.Addr().String())
	}
	return urls, nil
}

// start runs the process and waits for its first answer to a GET of path.
func (s *server) start(ctx context.Context, path string) error {
	s.process = exec.Command(s.command[0], s.command[1:]...)
	s.output.Reset()
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	ended, process := make(chan error, 1), s.process
	s.ended = ended
	go func() { ended <- process.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if s.answers(path) {
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("%s ended: %v\n%s", s.name, err, s.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer", s.name), s.stop(syscall.SIGKILL))
		case <-tick.C:
		}
	}
}

func (s *server) answers(path string) bool {
	response, err := s.web.Get(s.endpoint + path)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode == http.StatusOK
}

// stop ends the process and waits for it.
func (s *server) stop(sig syscall.Signal) error {
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-s.ended:
		s.ended <- err
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s does not end", s.name), s.process.Process.Kill())
	}
}

// remove stops the process and deletes its directory.
func (s *server) remove() error {
	var err error
	if s.process != nil {
		err = s.stop(syscall.SIGTERM)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// residentBytes is the memory of the process as the system sees it; 0 if that
// cannot be told.
func (t target) residentBytes() int64 {
	if t.server == nil {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.server.process.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// runRestart kills the server when it holds o.keys keys, and measures the time
// until it answers for the last of them again.
func runRestart(ctx context.Context, t target, o options) (result, error) {
	if err := preload(ctx, t, o.keys, o.valueBytes); err != nil {
		return result{}, err
	}
	if err := t.server.stop(syscall.SIGKILL); err != nil {
		return result{}, err
	}
	begin := time.Now()
	if err := t.server.start(ctx, "/v2/keys"+key(o.keys-1)); err != nil {
		return result{}, err
	}
	return result{Requests: 1, Extra: map[string]float64{"restart_ms": milliseconds(time.Since(begin))}}, nil
}

// serveBare answers every request as a GET of a key is answered, by net/http
// and nothing else, until ctx ends.
func serveBare(ctx context.Context, url string, valueBytes int) error {
	body := fmt.Appendf(nil, "{\"action\":\"get\",\"node\":{\"key\":%q,\"value\":%q,\"modifiedIndex\":100,\"createdIndex\":100}}\n", key(0), strings.Repeat("x", valueBytes))
	s := &http.Server{Addr: strings.TrimPrefix(url, "http://"), ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		h["X-Etcd-Cluster-Id"] = []string{"7e27652122e8b2ae"}
		h["X-Etcd-Index"] = []string{"100"}
		h["X-Raft-Index"] = []string{"200"}
		h["X-Raft-Term"] = []string{"2"}
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.Write(body) // the client is gone if it fails
	})}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
