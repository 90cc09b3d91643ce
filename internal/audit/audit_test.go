package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

const patience = time.Minute

// logged collects what the process's log tells.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T, o Options) (*Log, *logged) {
	t.Helper()
	told := &logged{}
	logger := logrus.New()
	logger.SetOutput(told)
	o.Log = logger
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, told
}

// serve has one request served, with a status and an index.
func serve(l *Log, method, target string, header http.Header, status int, index string) {
	r := httptest.NewRequest(method, "http://h/", nil)
	r.URL.Path = target
	r.Header = header
	r.RemoteAddr = "192.0.2.7:4711"
	l.Serve(httptest.NewRecorder(), r, func(w http.ResponseWriter, r *http.Request) {
		if e := Of(r.Context()); r.Header.Get("Authorization") != "" {
			e.User, e.By = "bob", "password"
		}
		if index != "" {
			w.Header().Set("X-Etcd-Index", index)
		}
		w.WriteHeader(status)
	})
}

// entries reads a file of lines.
func entries(t *testing.T, name string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line == "\n" {
			continue
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, e)
	}
	return all
}

func TestWhatIsWritten(t *testing.T) {
	for _, reads := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "audit")
		l, told := open(t, Options{File: name, Reads: reads})
		basic := http.Header{"Authorization": {"Basic Ym9iOnNlY3JldA=="}, "X-Forwarded-For": {"10.1.1.1"}, "X-Request-Id": {"abc-1"}}
		serve(l, "PUT", "/v2/keys/a", basic, 201, "17")
		serve(l, "GET", "/v2/keys/read", http.Header{}, 200, "17")
		serve(l, "GET", "/v2/keys/secret", http.Header{}, 401, "")
		serve(l, "DELETE", "/v2/keys/\xff\n\"}", http.Header{"X-Request-Id": {"bad id\n"}}, 404, "17")
		serve(l, "PUT", "/v2/keys/"+strings.Repeat("k", 2*textMax), http.Header{}, 500, "")
		l.Close()
		got := entries(t, name)
		want := "PUT /v2/keys/a done|GET /v2/keys/secret refused|DELETE /v2/keys/\uFFFD\n\"} failed|PUT unknown"
		if reads {
			want = strings.Replace(want, "|GET", "|GET /v2/keys/read done|GET", 1)
		}
		var texts []string
		for _, e := range got {
			path := fmt.Sprint(" ", e["path"])
			if len(path) > textMax {
				path = ""
			}
			texts = append(texts, fmt.Sprint(e["method"], path, " ", e["outcome"]))
		}
		if strings.Join(texts, "|") != want {
			t.Errorf("with reads %v: %q, want %q", reads, strings.Join(texts, "|"), want)
		}
		first := got[0]
		if first["user"] != "bob" || first["by"] != "password" || first["from"] != "192.0.2.7:4711" || first["forwarded_for"] != "10.1.1.1" ||
			first["status"] != 201.0 || first["index"] != 17.0 || first["id"] != "abc-1" {
			t.Errorf("the first entry is %v", first)
		}
		if id := got[len(got)-2]["id"].(string); strings.Contains(id, " ") {
			t.Errorf("the ID is %q", id)
		}
		if text, err := os.ReadFile(name); err != nil || strings.Contains(string(text), "secret\"") && strings.Contains(string(text), "Ym9i") || told.String() != "" {
			t.Errorf("%v; a password is in %s; told: %s", err, text, told)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file: %v, %v", info.Mode(), err)
		}
	}
}

// After SIGHUP entries go to a new file, and none is lost.
func TestTheFileIsOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "audit")
	l, told := open(t, Options{File: name})
	serve(l, "PUT", "/v2/keys/1", http.Header{}, 201, "1")
	old := filepath.Join(dir, "old")
	if err := os.Rename(name, old); err != nil {
		t.Fatal(err)
	}
	serve(l, "PUT", "/v2/keys/2", http.Header{}, 201, "2")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(told.String(), "opened again"); {
		if time.Now().After(deadline) {
			t.Fatalf("the file is not opened again: %s", told)
		}
	}
	serve(l, "PUT", "/v2/keys/3", http.Header{}, 201, "3")
	l.Close()
	if n, m := len(entries(t, old)), len(entries(t, name)); n+m != 3 || m == 0 {
		t.Errorf("the old file has %d entries, the new one %d", n, m)
	}
}

// A reader that stops delays no request; what is lost is counted, and told in both logs.
func TestAPipeThatNobodyReads(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(name, os.O_RDWR, 0) // so that opening it for writing does not wait
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	var dropped atomic.Int64
	l, told := open(t, Options{File: name, Dropped: func() { dropped.Add(1) }})
	sent := 0
	for ; dropped.Load() == 0; sent++ {
		serve(l, "PUT", "/v2/keys/"+strings.Repeat("x", 500), http.Header{}, 201, "1")
	}
	read := make(chan int, 1)
	go func() {
		lines, missing := 0, 0
		d := json.NewDecoder(pipe)
		for {
			var e struct {
				Path    string
				Dropped int
			}
			if err := d.Decode(&e); err != nil {
				t.Errorf("a line: %v", err)
			}
			lines, missing = lines+1, missing+e.Dropped
			if e.Path == "/v2/keys/last" {
				read <- lines - 1 + missing // the line that tells of those missing is none of the entries
				return
			}
		}
	}()
	for deadline := time.Now().Add(patience); len(l.queue) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the queue does not get empty")
		}
	}
	serve(l, "PUT", "/v2/keys/last", http.Header{}, 201, "1")
	if got := <-read; got != sent+1 {
		t.Errorf("the pipe tells of %d entries, want %d", got, sent+1)
	}
	l.Close()
	if !strings.Contains(told.String(), "lost 1 entries") {
		t.Errorf("told: %s", told)
	}
}

// What waits for a file that takes nothing is bounded in bytes, too.
func TestTheQueueIsBoundedInBytes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	var dropped atomic.Int64
	l, _ := open(t, Options{File: name, Dropped: func() { dropped.Add(1) }})
	for sent := 0; dropped.Load() == 0; sent++ {
		serve(l, "PUT", strings.Repeat("x", textMax), http.Header{"X-Forwarded-For": {strings.Repeat("y", textMax)}}, 201, "1")
		if l.bytes.Load() > queueBytesMax || sent > 2*queueBytesMax/textMax {
			t.Fatalf("after %d entries %d bytes wait", sent, l.bytes.Load())
		}
	}
	go io.Copy(io.Discard, pipe) // ends with the pipe
	l.Close()
	if left := l.bytes.Load(); left != 0 {
		t.Errorf("%d bytes are counted when nothing waits", left)
	}
}

// A disk that is full costs entries, and is told; it delays and stops nothing.
func TestAFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	var dropped atomic.Int64
	l, told := open(t, Options{File: "/dev/full", Dropped: func() { dropped.Add(1) }})
	for range 10 {
		serve(l, "PUT", "/v2/keys/a", http.Header{}, 201, "1")
	}
	l.Close()
	if dropped.Load() != 10 || !strings.Contains(told.String(), "lost 10 entries: write /dev/full: no space left on device") {
		t.Errorf("%d are dropped; told: %s", dropped.Load(), told)
	}
}

func TestAFileThatCannotBeOpened(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none", "audit")
	if _, err := Open(Options{File: name}); err == nil || err.Error() != "--audit-log: open "+name+": no such file or directory" {
		t.Errorf("Open: %v", err)
	}
}

// A handler that panics to cut its connection is audited: nobody knows what it has done.
func TestACutAnswer(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit")
	l, _ := open(t, Options{File: name})
	func() {
		defer func() { _ = recover() }()
		l.Serve(httptest.NewRecorder(), httptest.NewRequest("PUT", "/v2/keys/a", nil), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}()
	l.Close()
	if got := entries(t, name); len(got) != 1 || got[0]["outcome"] != Unknown {
		t.Errorf("the entries are %v", got)
	}
}
