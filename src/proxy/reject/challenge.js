// Finds n such that SHA-256(challenge + "." + n) begins with enough zero bits, puts both into a
// cookie, and has the browser send the form again. SHA-256 (FIPS 180-4) is written out because
// browsers lend theirs to https pages only.
(function () {
  "use strict";
  var script = document.currentScript.dataset;
  var challenge = script.challenge, bits = Number(script.bits), seconds = Number(script.seconds);
  var state = document.getElementById("state"), again = document.getElementById("again");

  // The constants: fractional parts of the roots of the first primes.
  var K = new Int32Array(64), START = new Int32Array(8), W = new Int32Array(64);
  var fraction = function (x) { return ((x - Math.floor(x)) * 4294967296) | 0; };
  for (var candidate = 2, count = 0; count < 64; candidate++) {
    var prime = true;
    for (var d = 2; d * d <= candidate; d++) if (candidate % d === 0) prime = false;
    if (!prime) continue;
    if (count < 8) START[count] = fraction(Math.sqrt(candidate));
    K[count++] = fraction(Math.cbrt(candidate));
  }

  function compress(h, bytes, from) {
    for (var i = 0; i < 16; i++, from += 4)
      W[i] = bytes[from] << 24 | bytes[from + 1] << 16 | bytes[from + 2] << 8 | bytes[from + 3];
    for (; i < 64; i++) {
      var x = W[i - 15], y = W[i - 2];
      W[i] = (W[i - 16] + W[i - 7] + ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3) +
        ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10)) | 0;
    }
    var a = h[0], b = h[1], c = h[2], e = h[4], f = h[5], g = h[6], k = h[7], l = h[3];
    for (i = 0; i < 64; i++) {
      var s = (k + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) +
        (e & f ^ ~e & g) + K[i] + W[i]) | 0;
      var t = (((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) +
        (a & b ^ a & c ^ b & c)) | 0;
      k = g; g = f; f = e; e = (l + s) | 0; l = c; c = b; b = a; a = (s + t) | 0;
    }
    h[0] += a; h[1] += b; h[2] += c; h[3] += l; h[4] += e; h[5] += f; h[6] += g; h[7] += k;
  }

  // The challenge is longer than one block and, with any n, shorter than two: the first is hashed once.
  var text = challenge + ".", buffer = new Uint8Array(128), first = START.slice(), h = new Int32Array(8);
  for (var i = 0; i < text.length; i++) buffer[i] = text.charCodeAt(i);
  compress(first, buffer, 0);

  function holds(n) {
    var digits = String(n), length = text.length + digits.length;
    for (var i = 0; i < digits.length; i++) buffer[text.length + i] = digits.charCodeAt(i);
    buffer.fill(0, length);
    buffer[length] = 128;
    buffer[126] = length >> 5;
    buffer[127] = length << 3;
    h.set(first);
    compress(h, buffer, 64);
    return h[0] >>> (32 - bits) === 0;
  }

  function send(n) {
    var secure = location.protocol === "https:";
    var pair = (secure ? "__Host-" : "") + "tillgate-proof=" + challenge + "." + n;
    document.cookie = pair + "; Path=/; SameSite=Lax; Max-Age=" + seconds + (secure ? "; Secure" : "");
    if (document.cookie.indexOf(pair) < 0) {
      state.textContent = "This check needs cookies. Please allow them for this page, then sign in again.";
      return;
    }
    // The form is sent again, with the cookie. Whoever has come here that way already is asked first.
    var entry = performance.getEntriesByType("navigation")[0];
    state.textContent = "Thank you. If nothing happens, press the button and let your browser send the form again.";
    again.hidden = false;
    if (!entry || entry.type !== "reload") location.reload();
  }
  again.onclick = function () { location.reload(); };

  // In pieces, so that the page stays alive.
  var n = 0, turn = new MessageChannel();
  turn.port1.onmessage = function () {
    for (var end = Date.now() + 40; Date.now() < end;)
      for (var i = 0; i < 500; i++, n++) if (holds(n)) return send(n);
    turn.port2.postMessage(0);
  };
  turn.port2.postMessage(0);
})();
