package nodejson

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
	"unicode/utf8"

	"canopy/internal/rng"
	"canopy/store/tree"
)

// FuzzJSONString compares the encoder with encoding/json (K34).
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", "<a href=\"x\">\\&'", "\x00\x01\b\f\n\r\t\x1f\x7f", "Grüße 你好 🙂", "\u2027\u2028\u2029\u202a",
		"a\xffb", "\xe4\xbd", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\ufffd", "\xe2\x80"} {
		f.Add(s)
	}
	f.Fuzz(sameJSON)
}

func sameJSON(t *testing.T, s string) {
	want, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := AppendString(nil, s); string(got) != string(want) {
		t.Fatalf("%q = %s, want %s", s, got, want)
	}
}

// TestEveryShortStringIsEncodedLikeEncodingJSON tries all bytes, and random strings of the bytes that matter.
func TestEveryShortStringIsEncodedLikeEncodingJSON(t *testing.T) {
	for a := range 256 {
		sameJSON(t, string([]byte{byte(a)}))
		for b := range 256 {
			sameJSON(t, string([]byte{byte(a), byte(b)}))
		}
	}
	const bytes = "a\x00\"<\\\n\xe2\x80\xa8\xa9\xf0\x9f\x98\x80\xc3\xbc\xff\xed\xa0"
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	for range 100_000 {
		s := make([]byte, rng.IntN(12))
		for i := range s {
			s[i] = bytes[rng.IntN(len(bytes))]
		}
		sameJSON(t, string(s))
	}
}

// TestEightBytesArePlainIfEachIs puts all pairs of bytes at all positions among plain ones.
func TestEightBytesArePlainIfEachIs(t *testing.T) {
	for at := range 7 {
		s := []byte("plain ~\x7f")
		for pair := range 1 << 16 {
			a, b := byte(pair>>8), byte(pair)
			s[at], s[at+1] = a, b
			if want := max(a, b) < utf8.RuneSelf && isPlain(a) && isPlain(b); arePlain(string(s)) != want {
				t.Fatalf("arePlain(%q) = %v", s, !want)
			}
		}
	}
}

// TestExpirationIsEncodedLikeEncodingJSON checks K33: a fraction has as many digits as it needs.
func TestExpirationIsEncodedLikeEncodingJSON(t *testing.T) {
	const deadlineLast = 9_214_646_400 * int64(tree.Second) // of the store
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	for range 10_000 {
		at := rng.Int64N(deadlineLast)
		for range rng.IntN(10) {
			at -= at % 10
			at /= 10
		}
		at *= []int64{1, 1000, 1_000_000, 1_000_000_000}[rng.IntN(4)] % (deadlineLast/(at+1) + 1)
		want, err := json.Marshal(time.Unix(0, at).UTC())
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendExpiry(nil, tree.Time(at), tree.Time(at))); got != `,"expiration":`+string(want) {
			t.Fatalf("%d = %s, want %s", at, got, want)
		}
	}
}
