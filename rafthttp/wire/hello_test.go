package wire

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHelloIsParsed(t *testing.T) {
	life := [16]byte{1, 2, 3}
	for _, want := range []Hello{
		{1, 1, 5, 6, 7, life, nil, "2.3.8", 100 * time.Millisecond, time.Second},
		{1, 9, 1<<64 - 1, 1<<64 - 1, 0, life, &life, "10.20.30", time.Millisecond, time.Hour},
	} {
		header := http.Header{}
		want.Write(header)
		got, err := ParseHello(header)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

func TestMalformedHelloIsRefused(t *testing.T) {
	good := Hello{1, 1, 5, 6, 7, [16]byte{1}, nil, "2.3.8", time.Second, time.Second}
	for _, bad := range [][2]string{
		{HeaderProtocol, ""}, {HeaderProtocol, "1"}, {HeaderProtocol, "2-1"}, {HeaderProtocol, "1-99999999999"}, {HeaderProtocol, "-1-1"},
		{HeaderTimes, "x-y"}, {HeaderTimes, ""}, {HeaderCluster, ""}, {HeaderCluster, "xyz"}, {HeaderCluster, "10000000000000000"},
		{HeaderFrom, "0"}, {HeaderFrom, ""}, {HeaderTo, "-1"}, {HeaderIncarnation, ""}, {HeaderIncarnation, "01"},
		{HeaderIncarnation, strings.Repeat("g", 32)}, {HeaderToIncarnation, "1"}, {HeaderVersion, ""}, {HeaderVersion, "2.3"},
		{HeaderVersion, "a.b.c"}, {HeaderVersion, "2.3.8" + strings.Repeat("0", 100)},
	} {
		header := http.Header{}
		good.Write(header)
		header.Set(bad[0], bad[1])
		if h, err := ParseHello(header); err == nil {
			t.Errorf("%s: %q was understood as %v", bad[0], bad[1], h)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s: the error has %d bytes", bad[0], len(err.Error()))
		}
	}
}

func FuzzHello(f *testing.F) {
	good := http.Header{}
	h := Hello{1, 1, 5, 6, 7, [16]byte{1}, &[16]byte{2}, "2.3.8", time.Second, time.Second}
	h.Write(good)
	names := []string{HeaderProtocol, HeaderCluster, HeaderFrom, HeaderTo, HeaderIncarnation, HeaderToIncarnation, HeaderVersion, HeaderTimes}
	for i, name := range names {
		f.Add(i, good.Get(name))
		f.Add(i, "")
	}
	f.Fuzz(func(t *testing.T, which int, value string) {
		header := good.Clone()
		header[names[uint(which)%uint(len(names))]] = []string{value}
		h, err := ParseHello(header)
		if err != nil {
			return
		}
		again := http.Header{}
		h.Write(again)
		got, err := ParseHello(again)
		if diff := cmp.Diff(h, got); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func FuzzSnapshotHeader(f *testing.F) {
	f.Add("CAMQBw==")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		_, _ = ParseSnapshot(http.Header{HeaderSnapshot: {value}})
	})
}
