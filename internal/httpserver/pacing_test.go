package httpserver

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// frameOf is one of HTTP/2, of zeros.
func frameOf(kind byte, length int) []byte {
	f := make([]byte, frameHeaderBytes+length)
	binary.BigEndian.PutUint32(f, uint32(length)<<8)
	f[3] = kind
	return f
}

func TestFramesAreWeighed(t *testing.T) {
	const ping = 6
	for _, tt := range []struct {
		name string
		sent []byte
		want int
	}{
		{"nothing but the preface", []byte(preface), 0},
		{"HTTP/1.1", []byte("PUT /v2/keys/k HTTP/1.1\r\n" + string(bytes.Repeat(frameOf(ping, 8), 10))), 0},
		{"pings", slices.Concat([]byte(preface), frameOf(ping, 8), frameOf(ping, 8)), 2 * weighMuch},
		{"a header in two parts", slices.Concat([]byte(preface), frameOf(frameHeaders, 100), frameOf(frameContinuation, 50)), 150 + 3*(100-headerSmall) + 2*frameHeaderBytes},
		{"a body that looks like pings", slices.Concat([]byte(preface), frameOf(frameData, 16<<10), frameOf(frameWindowUpdate, 4)), 2 * weighLittle},
	} {
		for _, piece := range []int{1, 7, len(tt.sent)} { // wherever it is cut
			var p pace
			for part := range slices.Chunk(tt.sent, piece) {
				if !p.plain {
					p.follow(part)
				}
			}
			if got := p.used; got > tt.want || got < tt.want-int(paceRate/10) || (got == 0) != (tt.want == 0) {
				t.Errorf("%s in pieces of %d weighs %d, want %d", tt.name, piece, got, tt.want)
			}
		}
	}
}

func TestTheAllowanceComesBack(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	if pause := p.charge(paceBurst, now); pause > 0 {
		t.Errorf("a pause of %v within the allowance", pause)
	}
	if pause := p.charge(paceRate/4, now); pause != time.Second/4 {
		t.Errorf("a pause of %v, want a quarter of a second", pause)
	}
	now = now.Add(time.Second)
	if pause := p.charge(paceBurst, now); pause > 0 {
		t.Errorf("a pause of %v after a second", pause)
	}
	if pause := p.charge(100*paceRate, now); pause != paceMax {
		t.Errorf("a pause of %v, want at most %v", pause, paceMax)
	}
}
