//! Tokens of other makers: `PyJWT` in every algorithm, and Django's simplejwt.

use serde_json::Value;

use super::jwks::{Issuer, answer};
use crate::{
    gateway::django::Django,
    support::{Server, request},
};

/// Keys of each kind, a token of alice for each algorithm, and both kinds of simplejwt's.
const MAKE: &str = r#"
import time, jwt
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from django.contrib.auth.models import User
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

keys = {
    "rsa": (rsa.generate_private_key(65537, 2048), ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    "p256": (ec.generate_private_key(ec.SECP256R1()), ["ES256"]),
    "p384": (ec.generate_private_key(ec.SECP384R1()), ["ES384"]),
    "ed": (ed25519.Ed25519PrivateKey.generate(), ["EdDSA"]),
}
claims = {"sub": "alice", "exp": int(time.time()) + 3600}
out = {"pem": {}, "jwks": {"keys": []}, "tokens": {}, "other": {}}
for kid, (key, algorithms) in keys.items():
    public = key.public_key()
    pem = public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    out["pem"][kid] = pem.decode()
    jwk = get_default_algorithms()[algorithms[0]].to_jwk(public, as_dict=True)
    out["jwks"]["keys"].append({**jwk, "kid": kid, "use": "sig"})
    headers = {"kid": kid}
    out["tokens"][kid] = {a: jwt.encode(claims, key, a, headers=headers) for a in algorithms}
small = rsa.generate_private_key(65537, 1024)
out["small"] = small.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode()
out["by_small"] = jwt.encode(claims, small, "RS256")
user = User.objects.create(username="alice")
out["user"], out["access"], out["refresh"] = str(user.pk), str(AccessToken.for_user(user)), str(RefreshToken.for_user(user))
print(json.dumps(out))
"#;

async fn asked(server: &Server, token: &Value) -> u16 {
    let header = format!("Bearer {}", token.as_str().unwrap());
    let path = "/api/chat/users/alice/conversations/";
    let bytes = request("GET", path, &[("Authorization", &header)], None);
    server.send(bytes).await.status
}

#[tokio::test]
async fn tokens_of_other_makers_are_read() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let made = django.says(MAKE).await;
    let issuer = Issuer::answering(answer(&made["jwks"].to_string())).await;
    let by_set = issuer.server(&[]).await;
    let file = django.directory.path().join("key.pem");
    for (kid, tokens) in made["tokens"].as_object().unwrap() {
        std::fs::write(&file, made["pem"][kid].as_str().unwrap()).unwrap();
        let tokens = tokens.as_object().unwrap();
        let names: Vec<&str> = tokens.keys().map(String::as_str).collect();
        let by_file = by_file(&file, &names.join(",")).await;
        for (algorithm, token) in tokens {
            assert_eq!(asked(&by_set, token).await, 200, "{algorithm} by the set");
            assert_eq!(asked(&by_file, token).await, 200, "{algorithm} by the file");
        }
        let one = tokens.values().next().unwrap().as_str().unwrap();
        let (signed, signature) = one.rsplit_once('.').unwrap();
        let other: String = signature.chars().rev().collect();
        let forged = Value::from(format!("{signed}.{other}"));
        assert_eq!(asked(&by_file, &forged).await, 401, "{kid}");
    }
    let rsa = &made["tokens"]["rsa"];
    std::fs::write(&file, made["pem"]["rsa"].as_str().unwrap()).unwrap();
    let only_pss = by_file(&file, "PS256").await;
    assert_eq!(asked(&only_pss, &rsa["PS256"]).await, 200);
    assert_eq!(asked(&only_pss, &rsa["RS256"]).await, 401);
    std::fs::write(&file, made["small"].as_str().unwrap()).unwrap();
    let weak = by_file(&file, "RS256").await;
    assert_eq!(
        asked(&weak, &made["by_small"]).await,
        401,
        "1024 bits are too few"
    );
}

async fn by_file(file: &std::path::Path, algorithms: &str) -> Server {
    let file = file.display().to_string();
    let settings = [
        ("auth.identity", "jwt"),
        ("auth.jwt.public_key_file", file.as_str()),
        ("auth.jwt.algorithms", algorithms),
    ];
    Server::with(&settings).await
}

#[tokio::test]
async fn an_access_token_of_simplejwt_is_read_and_its_refresh_token_is_not() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let made = django.says(MAKE).await;
    let settings = [
        ("auth.identity", "jwt"),
        ("auth.policy", "participants"),
        (
            "auth.jwt.secret",
            "the-reference-service-keeps-no-secrets-0123456789",
        ),
        ("auth.jwt.algorithms", "HS256"),
        ("auth.jwt.user_claim", "user_id"),
    ];
    let server = Server::with(&settings).await;
    let header = format!("Bearer {}", made["access"].as_str().unwrap());
    let body = serde_json::json!({"participant1_id": made["user"], "participant2_id": "bob"});
    let path = "/api/chat/conversations/";
    let bytes = request("POST", path, &[("Authorization", &header)], Some(&body));
    assert_eq!(server.send(bytes).await.status, 201);
    assert_eq!(asked(&server, &made["refresh"]).await, 401);
}
