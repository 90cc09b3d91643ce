package wire

import (
	"bytes"
	"fmt"
)

// parseHead takes the status line and the header lines, each with its "\r\n".
// Line ends of other kinds are refused: readers disagree about what they mean.
func parseHead(b []byte) (Head, error) {
	if n := bytes.Count(b, []byte("\r\n")); bytes.Count(b, []byte("\n")) != n || bytes.Count(b, []byte("\r")) != n {
		return Head{}, fmt.Errorf("%w: a line of the head ends in half a line end", ErrMalformed)
	}
	line, rest := cutLine(b)
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return Head{}, fmt.Errorf("%w: status line %.80q", ErrMalformed, line)
	}
	status, ok := parseDigits(line[9:12])
	if !ok || status < 100 {
		return Head{}, fmt.Errorf("%w: status line %.80q", ErrMalformed, line)
	}
	h := Head{Status: int(status), Length: -1, Close: line[7] == '0'}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if err := h.parseField(line); err != nil {
			return Head{}, err
		}
	}
	if h.Chunked {
		h.Length = -1
	}
	return h, nil
}

// parseField looks at one header line; most are passed over by their length.
func (h *Head) parseField(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return fmt.Errorf("%w: header line %.80q", ErrMalformed, line)
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	switch {
	case foldsTo(name, "content-length"):
		n, ok := parseDigits(value)
		if !ok || h.Length >= 0 && h.Length != n {
			return fmt.Errorf("%w: header line %.80q", ErrMalformed, line)
		}
		h.Length = n
	case foldsTo(name, "transfer-encoding"):
		if !foldsTo(value, "chunked") {
			return fmt.Errorf("%w: transfer encoding %.80q is not understood", ErrMalformed, value)
		}
		h.Chunked = true
	case foldsTo(name, "connection"):
		h.Close = h.Close || foldsTo(value, "close")
	}
	return nil
}

// foldsTo reports whether b is s but for the case of letters.
func foldsTo(b []byte, s string) bool {
	return len(b) == len(s) && bytes.EqualFold(b, []byte(s))
}

// cutLine splits off the first line, without its end.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.Index(b, []byte("\r\n"))
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i+2:]
}

// parseDigits reads a decimal number of at most lengthMax.
func parseDigits(b []byte) (int64, bool) {
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' || n > lengthMax {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0 && n <= lengthMax
}

// parseChunkSize reads a hexadecimal size of at most lengthMax; an extension
// behind a semicolon is passed over.
func parseChunkSize(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	var n int64
	for _, c := range digits {
		d := hexDigit(c)
		if d < 0 || n > lengthMax {
			return 0, fmt.Errorf("%w: chunk size %.40q", ErrMalformed, line)
		}
		n = n<<4 + d
	}
	if len(digits) == 0 || n > lengthMax {
		return 0, fmt.Errorf("%w: chunk size %.40q", ErrMalformed, line)
	}
	return n, nil
}

// hexDigit is the value of c, or -1.
func hexDigit(c byte) int64 {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0')
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10
	}
	return -1
}
