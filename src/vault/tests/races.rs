//! What happens at once: purchases, erasures, reveals, and new keys, in two instances.

use futures_util::future::join_all;

use super::*;

async fn keeper(folder: &Path) -> Keeper {
    Keeper::open(&settings(folder).store, masters(1, None), IfMissing::Refuse).await.ok().unwrap()
}

async fn bought(vault: &Vault) -> Token {
    token(vault.tokenize(visa(), FORMAT).await.unwrap()[0])
}

/// The customer's right to be forgotten, used while the customer buys.
async fn erase(keeper: &Keeper) -> HashSet<Token> {
    let tokens = keeper.tokens_of(&visa()[0]).await.unwrap();
    keeper.erase(&tokens).await.unwrap();
    tokens.into_iter().collect()
}

#[tokio::test]
async fn a_card_erased_while_it_is_bought_never_has_an_erased_token_again() {
    let folder = tempfile::tempdir().unwrap();
    let instances = [opened(folder.path()).await, opened(folder.path()).await];
    let keeper = keeper(folder.path()).await;
    let mut erased = HashSet::new();
    for _ in 0..30 {
        let buying = join_all((0..6).map(|place| bought(&instances[place % 2])));
        let (during, gone) = tokio::join!(buying, erase(&keeper));
        erased.extend(gone);
        let after = bought(&instances[0]).await;
        assert_eq!(bought(&instances[1]).await, after, "two tokens for one card");
        assert!(!erased.contains(&after), "an erased token was given again");
        for token in during.into_iter().filter(|token| *token != after) {
            assert!(erased.contains(&token), "a token that is neither the card's nor erased");
        }
        for instance in &instances {
            assert_eq!(revealed(instance, after).await.unwrap(), b"4111111111111111");
        }
    }
    for token in erased {
        assert_eq!(revealed(&instances[0], token).await, None);
    }
}

#[tokio::test]
async fn a_reveal_beside_an_erasure_and_a_new_key_gives_the_card_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let instances = [opened(folder.path()).await, opened(folder.path()).await];
    let (eraser, mut rotator) = (keeper(folder.path()).await, keeper(folder.path()).await);
    for _ in 0..10 {
        let token = bought(&instances[0]).await;
        let revealing = join_all((0..20).map(|place| revealed(&instances[place % 2], token)));
        let mut silent = |_| ();
        let rotating = rotator.rotate(None, &mut silent);
        let (cards, gone, rotated) = tokio::join!(revealing, erase(&eraser), rotating);
        assert!(gone.contains(&token));
        // A row that went while it was sealed anew is no obstacle.
        rotated.unwrap();
        let whole = |card: &Vec<u8>| card == b"4111111111111111";
        assert!(cards.iter().flatten().all(whole), "half a card");
        assert_eq!(revealed(&instances[1], token).await, None);
    }
}
