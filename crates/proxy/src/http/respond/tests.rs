use super::*;

#[test]
fn an_error_is_told_to_grpc_clients_in_their_way() {
    for (status, expected) in
        [(403, "7"), (495, "7"), (496, "7"), (502, "14"), (503, "14"), (504, "4"), (404, "12"), (401, "16")]
    {
        let answer = grpc(status, "no: \u{e9}\r\nx");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], expected, "{status}");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(answer.headers()["grpc-message"], "no:%20%C3%A9%0D%0Ax");
    }
}

#[test]
fn statuses_of_certificates_are_shown_as_400() {
    for (status, words) in [
        (495, "The SSL certificate error"),
        (496, "No required SSL certificate was sent"),
        (497, "The plain HTTP request was sent to HTTPS port"),
    ] {
        let answer = page(status);
        assert_eq!(answer.status(), 400);
        let Kind::Full(body) = answer.into_body() else { panic!("no body") };
        assert!(String::from_utf8_lossy(&body).contains(words));
    }
}
